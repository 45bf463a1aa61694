// The page: what is shown, and what happens when somebody does something.

import * as api from './api.js';
import { actions } from './chats.js';
import { openSettings } from './dialogs.js';
import { copy, count, el, iconButton, say } from './dom.js';
import { banner, fit, isAtEnd, isNarrow, showContext, showSidebar, showTheme, toEnd } from './frame.js';
import * as keys from './keys.js';
import { view } from './message.js';
import { begin, loadingNote } from './run.js';
import * as store from './store.js';
import { download, exported } from './transfer.js';
import { ROOT, add, newChat, path, place, step, titleOf } from './tree.js';

const $ = (id) => document.getElementById(id);
const settings = store.settings();
/** Answers under way, by the id of their chat. */
const running = new Map();
const STARTERS = [
  'Explain how a hash table grows, with a small example.',
  'Write a shell script that finds the ten largest files below a folder.',
  'What should I ask before I take over a codebase that nobody understands?',
];

let all = [];
let chat = newChat(settings.system);
let views = new Map();
let model = null;

const { deleteChat, deleteAll, importFile, saveChat, rename, editSystem } = actions({
  get chat() {
    return chat;
  },
  get all() {
    return all;
  },
  set all(chats) {
    all = chats;
  },
  running,
  openChat,
  fresh,
  showChats,
  showFrame,
});

// ---- What is shown

function showThread() {
  const shown = path(chat);
  views = new Map(shown.map((node) => [node.id, view(chat, node, acts)]));
  $('messages').replaceChildren(...[...views.values()].map((one) => one.element));
  $('empty').hidden = shown.length > 0;
  const live = running.get(chat.id);
  if (live) views.get(live.node.id)?.update(live);
  showFrame();
}

function showFrame() {
  const title = titleOf(chat);
  $('rename').textContent = title;
  document.title = title === 'New chat' ? 'ds4' : `${title} · ds4`;
  $('system').classList.toggle('set', Boolean(chat.system.trim()));
  const isRunning = running.has(chat.id);
  const send = $('send');
  send.classList.toggle('stop', isRunning);
  send.querySelector('use').setAttribute('href', isRunning ? '#icon-stop' : '#icon-send');
  send.setAttribute('aria-label', isRunning ? 'Stop' : 'Ask');
  send.title = isRunning ? 'Stop (Escape)' : 'Ask (Enter)';
  showContext(chat, model);
}

function showChats() {
  const item = (one) => {
    const isShown = one.id === chat.id;
    const open = el('button.chat', { type: 'button', title: titleOf(one), onclick: () => openChat(one) }, titleOf(one));
    if (isShown) open.setAttribute('aria-current', 'true');
    if (running.has(one.id)) open.append(el('span.dot', { title: 'Answering' }));
    const remove = iconButton('delete', `Delete “${titleOf(one)}”`, () => deleteChat(one));
    return el(isShown ? 'li.current' : 'li', {}, open, remove);
  };
  $('chats').replaceChildren(...all.map(item));
}

// ---- Asking

function ask(text) {
  const last = path(chat).at(-1);
  answer(add(chat, last?.id ?? ROOT, 'user', text));
}

/** A new answer to a question, beside those it has. */
function answer(question) {
  if (running.has(chat.id)) return;
  const own = chat;
  const node = add(own, question.id, 'assistant');
  own.updated = Date.now();
  if (!all.includes(own)) all.unshift(own);
  let isDrawn = true;
  const live = begin(own, node, () => model?.id ?? '', settings.effort, () => {
    if (live.isOver) finish(live);
    else if (isDrawn) {
      // As often as the screen changes, not as often as something arrives.
      isDrawn = false;
      requestAnimationFrame(() => {
        isDrawn = true;
        draw(live);
      });
    }
  });
  running.set(own.id, live);
  showThread();
  showChats();
  toEnd();
  say('Answering');
}

function draw(live) {
  if (live.chat !== chat) return;
  const follows = isAtEnd();
  views.get(live.node.id)?.update(live);
  if (follows) toEnd();
}

function finish(live) {
  running.delete(live.chat.id);
  all.sort((a, b) => b.updated - a.updated);
  showChats();
  if (live.error?.status === 401) askForKey(live.error.message);
  else if (!model) connect();
  if (live.chat !== chat) return;
  draw(live);
  showFrame();
  const { state, figures } = live.node;
  say(state === 'done' ? `Answer complete, ${count(figures?.generated ?? 0)} tokens` : live.node.problem ?? 'Stopped');
}

const acts = {
  edit(node, text) {
    if (running.has(chat.id)) return;
    answer(add(chat, node.parent, 'user', text));
    $('question').focus();
  },
  again(node) {
    answer(chat.nodes[node.parent]);
  },
  turn(node, by) {
    if (running.has(chat.id) || !step(chat, node, by)) return;
    store.save(chat);
    showThread();
    const other = views.get(chat.chosen[node.parent]).element;
    const buttons = other.querySelectorAll('.branches button:not(:disabled)');
    ([...buttons].find((button) => button.dataset.by === String(by)) ?? buttons[0])?.focus();
    const { siblings, at } = place(chat, chat.nodes[chat.chosen[node.parent]]);
    say(`Version ${at + 1} of ${siblings.length}`);
  },
};

// ---- Chats

function openChat(other) {
  chat = running.get(other.id)?.chat ?? other;
  showThread();
  showChats();
  toEnd();
  if (isNarrow()) showSidebar(false);
  $('question').focus();
}

function fresh() {
  openChat(newChat(settings.system));
}

// ---- The server

async function connect() {
  try {
    const now = await api.health();
    if (now.status === 'loading') {
      banner(loadingNote(now));
      setTimeout(connect, 1000);
      return;
    }
    if (now.status === 'failed') return banner(`The model could not be loaded: ${now.error}`);
    model = await api.model();
    banner('');
  } catch (error) {
    if (error.status === 401) return askForKey(error.message);
    const again = el('button.quiet', { type: 'button', onclick: connect }, 'Try again');
    banner('The server cannot be reached.', again);
  }
  showModel();
  showContext(chat, model);
}

function showModel() {
  $('empty-model').textContent = model?.id ?? 'ds4';
  $('empty-note').textContent = model
    ? `${count(model.context)} tokens of context. Chats are kept in this browser alone.`
    : 'Chats are kept in this browser alone.';
}

function askForKey(words) {
  const enter = el('button.quiet', { type: 'button', onclick: () => changeSettings('key') }, 'Enter a key');
  banner(store.key().key ? words : 'This server asks for a key.', enter);
}

async function changeSettings(focus) {
  const before = store.key().key;
  const wish = await openSettings(settings, focus, (theme) => {
    settings.theme = theme;
    showTheme(settings);
  });
  store.saveSettings(settings);
  if (wish === 'delete-all') await deleteAll();
  if (store.key().key !== before) await connect();
}

// ---- The beginning

function submit() {
  const live = running.get(chat.id);
  if (live) return live.stop();
  const area = $('question');
  const text = area.value.trim();
  if (!text) return;
  area.value = '';
  fit();
  ask(text);
}

function wire() {
  $('composer').addEventListener('submit', (event) => {
    event.preventDefault();
    submit();
  });
  $('question').addEventListener('input', fit);
  $('question').addEventListener('keydown', (event) => {
    // A finger's keyboard has no Shift+Enter: there Enter is a new line, and the button asks.
    const isTouch = matchMedia('(pointer: coarse)').matches;
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing || isTouch) return;
    event.preventDefault();
    if (!running.has(chat.id)) submit();
  });
  for (const radio of document.querySelectorAll('input[name=effort]')) {
    radio.checked = radio.value === settings.effort;
    radio.addEventListener('change', () => {
      settings.effort = radio.value;
      store.saveSettings(settings);
    });
  }
  $('starters').append(
    ...STARTERS.map((text) => el('li', {}, el('button', { type: 'button', onclick: () => ask(text) }, text))),
  );
  const clicks = {
    new: fresh,
    menu: commands.sidebar,
    shade: commands.sidebar,
    rename,
    system: editSystem,
    save: saveChat,
    settings: () => changeSettings(),
    help: commands.help,
    export: () => download('chats.json', 'application/json', exported(all)),
    import: () => $('import-file').click(),
  };
  for (const [id, act] of Object.entries(clicks)) $(id).addEventListener('click', () => act());
  $('import-file').addEventListener('change', async (event) => {
    const [file] = event.target.files;
    if (file) await importFile(file);
    event.target.value = '';
  });
  addEventListener('pagehide', () => {
    for (const live of running.values()) store.save(live.chat);
  });
  keys.list($('keys'));
  keys.listen(commands, () => settings.shortcuts);
}

const lastOf = (role) => path(chat).findLast((node) => node.role === role);

const commands = {
  focus: () => $('question').focus(),
  fresh,
  stop() {
    const live = running.get(chat.id);
    live?.stop();
    return Boolean(live);
  },
  edit: () => !running.has(chat.id) && views.get(lastOf('user')?.id)?.edit(),
  again: () => lastOf('assistant') && acts.again(lastOf('assistant')),
  before: () => turnLast(-1),
  after: () => turnLast(1),
  copy: () => lastOf('assistant') && copy(lastOf('assistant').text).then(() => say('Copied')),
  system: editSystem,
  sidebar() {
    const isOpen = !document.body.classList.contains('with-sidebar');
    showSidebar(isOpen);
    if (isNarrow()) return;
    settings.sidebar = isOpen;
    store.saveSettings(settings);
  },
  theme() {
    const isDark = getComputedStyle(document.documentElement).colorScheme === 'dark';
    settings.theme = isDark ? 'light' : 'dark';
    store.saveSettings(settings);
    showTheme(settings);
  },
  help: () => $('help-dialog').showModal(),
};

function turnLast(by) {
  const node = path(chat).findLast((one) => place(chat, one).siblings.length > 1);
  if (node) acts.turn(node, by);
}

async function start() {
  showTheme(settings);
  wire();
  showModel();
  showSidebar(settings.sidebar && !isNarrow());
  showThread();
  try {
    all = await store.chats();
  } catch {
    banner('This browser keeps nothing for this page: chats are gone when the tab is closed.');
  }
  if (all.length) chat = all[0];
  showThread();
  showChats();
  toEnd();
  $('question').focus();
  await connect();
}

start();
