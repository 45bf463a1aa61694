// What stands around a conversation, and how it is shown.

import { count } from './dom.js';
import { path } from './tree.js';

const $ = (id) => document.getElementById(id);

/** How much of the context the last answer of the path left used. */
export function showContext(chat, model) {
  const meter = $('context');
  const last = path(chat).findLast((node) => node.figures?.prompt);
  const used = last ? last.figures.prompt + last.figures.generated : 0;
  const whole = model?.context ?? 0;
  meter.hidden = !whole;
  meter.setAttribute('aria-valuemax', String(whole));
  meter.setAttribute('aria-valuenow', String(used));
  meter.setAttribute('aria-valuetext', `${count(used)} of ${count(whole)} tokens`);
  meter.title = `${count(used)} of ${count(whole)} tokens of context`;
  meter.querySelector('i').style.width = `${whole ? Math.min(100, (used / whole) * 100) : 0}%`;
  meter.classList.toggle('full', used > 0.85 * whole);
  meter.querySelector('.amount').textContent = `${short(used)} / ${short(whole)}`;
}

function short(tokens) {
  if (tokens < 10_000) return count(tokens);
  return tokens < 1_000_000 ? `${Math.round(tokens / 1000)}k` : `${(tokens / 1e6).toFixed(2)}M`;
}

export function showTheme(settings) {
  if (settings.theme === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = settings.theme;
}

export function showSidebar(isOpen) {
  document.body.classList.toggle('with-sidebar', isOpen);
  $('sidebar').inert = !isOpen;
  $('shade').hidden = !(isOpen && isNarrow());
  $('menu').setAttribute('aria-expanded', String(isOpen));
}

export const isNarrow = () => matchMedia('(max-width: 760px)').matches;

export function banner(text, act = null) {
  const box = $('banner');
  box.hidden = !text;
  box.replaceChildren(...(text ? [text, ...(act ? [' ', act] : [])] : []));
}

/** Follows the end of the conversation unless the reader went elsewhere. */
export function isAtEnd() {
  const thread = $('thread');
  return thread.scrollHeight - thread.scrollTop - thread.clientHeight < 80;
}

export function toEnd() {
  $('thread').scrollTop = $('thread').scrollHeight;
}

/** The question's box is as high as its text, within bounds of the style. */
export function fit() {
  const area = $('question');
  area.style.height = 'auto';
  area.style.height = `${area.scrollHeight}px`;
}
