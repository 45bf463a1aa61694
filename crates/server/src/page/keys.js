// The keyboard: one list that is both what happens and what the help shows.

import { el } from './dom.js';

const KEYS = [
  ['Enter', 'Ask', null],
  ['Shift + Enter', 'A new line', null],
  ['Escape', 'Stop the answer, or close what is open', null],
  ['Ctrl + .', 'To the question, from anywhere', null],
  ['/', 'To the question', 'focus'],
  ['n', 'New chat', 'fresh'],
  ['e', 'Edit the last question', 'edit'],
  ['r', 'Answer again', 'again'],
  ['[', 'Version before, of the last answer or question', 'before'],
  [']', 'Version after', 'after'],
  ['c', 'Copy the last answer', 'copy'],
  ['s', 'System prompt', 'system'],
  ['h', 'Show or hide the chats', 'sidebar'],
  ['t', 'Light or dark', 'theme'],
  ['?', 'These keys', 'help'],
];

/** Fills the help. */
export function list(place) {
  place.replaceChildren(
    ...KEYS.flatMap(([key, what]) => {
      const caps = key.split(' + ').flatMap((cap, at) => [at ? ' ' : '', el('kbd', {}, cap)]);
      return [el('dt', {}, ...caps), el('dd', {}, what)];
    }),
  );
}

/** Does what keys mean: `acts` by their names above, `stop()`, and whether single keys count. */
export function listen(acts, countsSingle) {
  document.addEventListener('keydown', (event) => {
    if (document.querySelector('dialog[open]') || event.isComposing) return;
    const isTyping = event.target.matches('input:not([type=radio], [type=checkbox]), textarea');
    if (event.key === 'Escape') {
      if (!acts.stop() && isTyping) event.target.blur();
      return;
    }
    if (event.key === '.' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      acts.focus();
      return;
    }
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey || !countsSingle()) return;
    const [, , act] = KEYS.find(([key, , name]) => name && key === event.key) ?? [];
    if (!act) return;
    event.preventDefault();
    acts[act]();
  });
}
