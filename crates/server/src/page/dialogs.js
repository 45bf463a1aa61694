// Dialogs. Each opens, and says what was decided when it is closed.

import * as store from './store.js';

const $ = (id) => document.getElementById(id);

/** Shows a dialog until it is closed. Its return value: that of the button, or nothing. */
function shown(dialog) {
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue), { once: true });
  });
}

export async function confirmed(title, note, act) {
  $('ask-text').hidden = true;
  return (await asked(title, note, act)) === 'done';
}

/** A line of text; null if it was left. */
export async function entered(title, before, act) {
  const line = $('ask-text');
  line.hidden = false;
  line.value = before;
  const answer = asked(title, '', act);
  line.select();
  return (await answer) === 'done' && line.value.trim() ? line.value.trim() : null;
}

function asked(title, note, act) {
  $('ask-title').textContent = title;
  $('ask-note').textContent = note;
  $('ask-note').hidden = !note;
  $('ask-done').textContent = act;
  $('ask-done').classList.toggle('danger', act.startsWith('Delete'));
  return shown($('ask-dialog'));
}

// Enter in a line means the button that does it, not the first one, which cancels.
$('ask-text').addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.isComposing) return;
  event.preventDefault();
  $('ask-dialog').close('done');
});

export async function openSystem(before) {
  $('system-text').value = before;
  return (await shown($('system-dialog'))) === 'done' ? $('system-text').value : null;
}

/** Changes `settings` and the key. `themed` shows a theme while it is chosen. */
export async function openSettings(settings, focus, themed) {
  const { key, isKept } = store.key();
  $('key').value = key;
  $('keep-key').checked = isKept;
  $('default-system').value = settings.system;
  $('shortcuts').checked = settings.shortcuts;
  for (const radio of document.querySelectorAll('input[name=theme]')) {
    radio.checked = radio.value === settings.theme;
    radio.onchange = () => themed(radio.value);
  }
  const dialog = $('settings-dialog');
  const wish = new Promise((resolve) => {
    $('delete-all').onclick = () => {
      resolve('delete-all');
      dialog.close('done');
    };
    shown(dialog).then(resolve);
  });
  if (focus) $(focus).focus();
  const found = await wish;
  store.saveKey($('key').value.trim(), $('keep-key').checked);
  settings.system = $('default-system').value;
  settings.shortcuts = $('shortcuts').checked;
  return found;
}
