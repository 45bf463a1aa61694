// Making elements. Text becomes text nodes, never markup.

/** `el('button.quiet', { type: 'button', onclick }, 'Send', …)` */
export function el(name, attributes = {}, ...content) {
  const [tag, ...classes] = name.split('.');
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(' ');
  for (const [attribute, value] of Object.entries(attributes)) {
    if (attribute.startsWith('on')) element.addEventListener(attribute.slice(2), value);
    else if (value === true) element.setAttribute(attribute, '');
    else if (value !== false && value != null) element.setAttribute(attribute, value);
  }
  element.append(...content);
  return element;
}

const SVG = 'http://www.w3.org/2000/svg';

/** One of the drawings in the page. */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `#icon-${name}`);
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  svg.append(use);
  return svg;
}

/** A button that is a drawing; its name is what it is called and what hovering shows. */
export function iconButton(drawing, name, onclick, attributes = {}) {
  const all = { type: 'button', 'aria-label': name, title: name, onclick, ...attributes };
  return el('button.icon-button', all, icon(drawing));
}

/** Puts a text into the clipboard. Pages without TLS have no clipboard of their own. */
export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = el('textarea.visually-hidden', { 'aria-hidden': 'true' });
  area.value = text;
  (document.querySelector('dialog[open]') ?? document.body).append(area);
  area.select();
  const isDone = document.execCommand('copy');
  area.remove();
  if (!isDone) throw new Error('The browser does not let this page copy.');
}

/** A button that copies, and says that it did. */
export function copyButton(name, text) {
  const button = iconButton('copy', name, async () => {
    let drawing = 'check';
    try {
      await copy(text());
      say('Copied');
    } catch (error) {
      drawing = 'alert';
      say(error.message);
    }
    button.replaceChildren(icon(drawing));
    setTimeout(() => button.replaceChildren(icon('copy')), 1500);
  });
  return button;
}

/** Says a line to those who listen instead of look. */
export function say(line) {
  document.getElementById('status').textContent = line;
}

const whole = new Intl.NumberFormat('en');

export function count(number) {
  return whole.format(Math.round(number));
}

export function seconds(ms) {
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 60_000) return `${Math.round(ms / 1000)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}
