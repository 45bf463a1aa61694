// One answer under way: asks, fills the message as it comes, and keeps what came.

import { Refused, ask, health } from './api.js';
import { save } from './store.js';
import { messages } from './tree.js';

/** Between two times that a growing answer is stored: what a crash can cost. */
const BETWEEN_SAVES = 1000;

/**
 * Begins the answer `node` of `chat`. `changed()` is called after everything that happens, and once
 * at the end, when `live.isOver`.
 */
export function begin(chat, node, model, effort, changed) {
  const controller = new AbortController();
  const live = { chat, node, prefill: null, speed: 0, note: null, isOver: false };
  live.stop = () => controller.abort();
  node.state = 'open';
  live.done = follow(live, model, effort, controller.signal, changed).finally(async () => {
    live.isOver = true;
    chat.updated = Date.now();
    await keep(chat);
    changed();
  });
  return live;
}

async function follow(live, model, effort, signal, changed) {
  const { chat, node } = live;
  const clock = { asked: performance.now(), first: 0, thought: 0, last: 0, pieces: 0 };
  let saved = 0;
  let finish = null;
  try {
    await loaded(live, signal, changed);
    for await (const event of ask(model(), messages(chat, node), effort, signal)) {
      if (event.prefill) live.prefill = event.prefill;
      if (event.finish) finish = event.finish;
      if (event.usage) node.figures = figures(event.usage, clock);
      if (event.thought || event.text) grow(live, event, clock);
      if (performance.now() - saved > BETWEEN_SAVES) {
        saved = performance.now();
        keep(chat);
      }
      changed();
    }
    node.state = finish === 'length' ? 'length' : finish === 'error' ? 'broken' : 'done';
  } catch (error) {
    if (!node.figures?.generated) node.figures = figures(null, clock);
    node.state = signal.aborted ? 'stopped' : 'broken';
    if (!signal.aborted) node.problem = wording(error);
    live.error = signal.aborted ? null : error;
  }
}

function grow(live, { thought, text }, clock) {
  const { node } = live;
  const now = performance.now();
  clock.first ||= now;
  clock.last = now;
  clock.pieces += 1;
  if (thought) {
    node.thought += thought;
    clock.thought = now;
  }
  if (text) {
    if (!node.text && node.thought) node.figures = { thinking: clock.thought - clock.first };
    node.text += text;
  }
  // Mostly a piece is a token; the exact figure comes with the end.
  const elapsed = now - clock.first;
  if (elapsed > 500) live.speed = (clock.pieces - 1) / (elapsed / 1000);
}

function figures(usage, clock) {
  const found = {
    first: clock.first ? clock.first - clock.asked : 0,
    writing: clock.last - clock.first,
    thinking: clock.thought ? clock.thought - clock.first : 0,
    generated: usage?.completion_tokens ?? clock.pieces,
  };
  if (usage) {
    found.prompt = usage.prompt_tokens;
    found.cached = usage.prompt_tokens_details?.cached_tokens ?? 0;
    found.reasoning = usage.completion_tokens_details?.reasoning_tokens ?? 0;
  }
  return found;
}

/** Waits until the server has its model. */
async function loaded(live, signal, changed) {
  for (;;) {
    const now = await health();
    if (now.status === 'failed') throw new Error(`The model could not be loaded: ${now.error}`);
    if (now.status !== 'loading') break;
    live.note = loadingNote(now);
    changed();
    await new Promise((resolve) => setTimeout(resolve, 500));
    signal.throwIfAborted();
  }
  live.note = null;
}

export function loadingNote({ loaded, total }) {
  return total ? `The model is loading: ${Math.floor((loaded / total) * 100)} %` : 'The model is loading';
}

/** What went wrong, and what to do about it. */
function wording(error) {
  if (!(error instanceof Refused)) {
    const isNetwork = error instanceof TypeError;
    return isNetwork ? 'The server cannot be reached. Is it running? Answer again when it is.' : error.message;
  }
  if (error.code === 'context_length_exceeded') {
    return `${error.message} Edit an earlier question, or begin a new chat.`;
  }
  if (error.status === 429) return `The server is busy: ${error.message}`;
  return error.message;
}

async function keep(chat) {
  try {
    await save(chat);
  } catch (error) {
    console.warn('the chat could not be stored', error);
  }
}
