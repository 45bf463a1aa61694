// Markdown as models write it, made into elements one by one. The text of a model is untrusted:
// nothing here parses markup, a link must be one of three kinds, and an image is a link.

import { copyButton, el } from './dom.js';

const DEEPEST = 8;

/**
 * Shows `text` in `element`. What was shown of it before stays as it is, so that an answer that
 * grows costs its last block, and what a reader selected above stays selected.
 */
export function show(element, text) {
  const parts = blocks(text);
  parts.forEach((part, index) => {
    const old = element.children[index];
    if (old?.source === part) return;
    const fresh = block(part, 0);
    fresh.source = part;
    if (old) old.replaceWith(fresh);
    else element.append(fresh);
  });
  while (element.children.length > parts.length) element.lastElementChild.remove();
}

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`]*)$/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])( +|$)(.*)$/;
const HEADING = /^ {0,3}(#{1,6})(?: +(.*?))?(?: +#+)? *$/;
const RULE = /^ {0,3}([-*_])(?: *\1){2,} *$/;
const DELIMITER = /^ *\|? *:?-+:? *(?:\| *:?-+:? *)*\|? *$/;

/** The text of each block at the top. */
function blocks(text) {
  const lines = text.replace(/\r\n?/g, '\n').split('\n');
  const found = [];
  for (let at = 0; at < lines.length; ) {
    if (lines[at].trim() === '') {
      at += 1;
      continue;
    }
    const end = endOf(lines, at);
    found.push(lines.slice(at, end).join('\n'));
    at = end;
  }
  return found;
}

/** The line after the block that begins at `from`. */
function endOf(lines, from) {
  const fence = FENCE.exec(lines[from]);
  let at = from + 1;
  if (fence) {
    const closes = (line) => line.trim().startsWith(fence[1]) && !line.trim().replaceAll(fence[1][0], '');
    while (at < lines.length && !closes(lines[at])) at += 1;
    return Math.min(at + 1, lines.length);
  }
  if (HEADING.test(lines[from]) || RULE.test(lines[from])) return at;
  if (ITEM.test(lines[from])) return endOfList(lines, from);
  const isQuote = /^ {0,3}>/.test(lines[from]);
  const isTable = at < lines.length && lines[from].includes('|') && DELIMITER.test(lines[at]);
  while (at < lines.length && lines[at].trim() !== '') {
    const line = lines[at];
    if (!isTable && (FENCE.test(line) || HEADING.test(line) || ITEM.test(line))) break;
    if (!isTable && !isQuote && (/^ {0,3}>/.test(line) || RULE.test(line))) break;
    if (isTable && !line.includes('|')) break;
    at += 1;
  }
  return at;
}

/** A list goes on over blank lines as long as what follows is indented or another item of its kind. */
function endOfList(lines, from) {
  const isNumbered = (line) => /\d/.test(ITEM.exec(line)[2]);
  const kind = isNumbered(lines[from]);
  let fence = null;
  let at = from + 1;
  for (; at < lines.length; at += 1) {
    const line = lines[at];
    const mark = FENCE.exec(line.trimStart());
    if (fence) {
      if (line.trim().startsWith(fence)) fence = null;
      continue;
    }
    if (mark && /^\s/.test(line)) {
      fence = mark[1];
      continue;
    }
    const belongs = (next) => /^( {2,}|\t)/.test(next) || (ITEM.test(next) && isNumbered(next) === kind);
    if (line.trim() === '') {
      const next = lines.slice(at).find((later) => later.trim() !== '');
      if (next === undefined || !belongs(next)) return at;
    } else if (!belongs(line) && (ITEM.test(line) || FENCE.test(line) || HEADING.test(line) || RULE.test(line))) {
      return at;
    }
  }
  return at;
}

function block(text, depth) {
  const lines = text.split('\n');
  const first = lines[0];
  const fence = FENCE.exec(first);
  if (fence) return code(lines, fence);
  const heading = HEADING.exec(first);
  // The page's own headings come first.
  if (heading) return el(`h${Math.min(heading[1].length + 2, 6)}`, {}, ...inline(heading[2] ?? '', depth));
  if (RULE.test(first)) return el('hr');
  if (depth < DEEPEST && /^ {0,3}>/.test(first)) {
    const inner = lines.map((line) => line.replace(/^ {0,3}> ?/, '')).join('\n');
    return el('blockquote', {}, ...blocks(inner).map((part) => block(part, depth + 1)));
  }
  if (depth < DEEPEST && ITEM.test(first)) return list(lines, depth);
  if (lines.length > 1 && first.includes('|') && DELIMITER.test(lines[1])) return table(lines, depth);
  return el('p', {}, ...inline(lines.map((line) => line.trimStart()).join('\n'), depth));
}

function code(lines, [, mark, info]) {
  const isClosed = lines.length > 1 && lines.at(-1).trim().startsWith(mark);
  const content = lines.slice(1, isClosed ? -1 : undefined).join('\n');
  const language = info.trim().split(/\s/)[0];
  const bar = el('div.code-bar', {}, el('span', {}, language || 'text'), copyButton('Copy code', () => content));
  // Wide lines scroll, and what scrolls must be reachable by keyboard.
  const box = el('pre', { tabindex: '0', role: 'region', 'aria-label': `${language || 'text'} code` });
  box.append(el('code', {}, content));
  return el('div.code', {}, bar, box);
}

function list(lines, depth) {
  const isNumbered = /\d/.test(ITEM.exec(lines[0])[2]);
  const list = el(isNumbered ? 'ol' : 'ul');
  const start = Number.parseInt(ITEM.exec(lines[0])[2], 10);
  if (isNumbered && start !== 1) list.setAttribute('start', String(start));
  let items = [];
  let fence = null;
  for (const line of lines) {
    // What is indented as far as an item's text is inside that item.
    const found = fence ? null : ITEM.exec(line);
    const item = found && found[1].length < (items.at(-1)?.indent ?? 4) ? found : null;
    const mark = FENCE.exec(line.trimStart());
    if (fence && line.trim().startsWith(fence)) fence = null;
    else if (!fence && mark) fence = mark[1];
    if (item) items.push({ indent: item[1].length + item[2].length + 1, lines: [item[4]] });
    else items.at(-1).lines.push(line);
  }
  for (const { indent, lines: own } of items) {
    const inner = own.map((line, at) => (at ? line.replace(new RegExp(`^[ \\t]{0,${indent}}`), '') : line));
    const parts = blocks(inner.join('\n')).map((part) => block(part, depth + 1));
    const isLoose = inner.slice(0, -1).some((line) => line.trim() === '');
    // A tight item is its text; only paragraphs among others need to be paragraphs.
    const flat = parts.flatMap((part) => (part.tagName === 'P' && !isLoose ? [...part.childNodes] : [part]));
    list.append(el('li', {}, ...flat));
  }
  return list;
}

function table(lines, depth) {
  const cells = (line) => {
    const trimmed = line.trim().replace(/^\|/, '').replace(/(?<!\\)\|$/, '');
    return trimmed.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll('\\|', '|'));
  };
  const sides = cells(lines[1]).map((cell) => {
    if (!cell.endsWith(':')) return null;
    return cell.startsWith(':') ? 'middle' : 'end';
  });
  const row = (line, tag) => {
    const made = cells(line).slice(0, sides.length).map((cell, at) => {
      const own = sides[at] ? `${tag}.${sides[at]}` : tag;
      return el(own, tag === 'th' ? { scope: 'col' } : {}, ...inline(cell, depth));
    });
    return el('tr', {}, ...made);
  };
  const body = lines.slice(2).map((line) => row(line, 'td'));
  const whole = el('table', {}, el('thead', {}, row(lines[0], 'th')), el('tbody', {}, ...body));
  return el('div.table', { tabindex: '0', role: 'region', 'aria-label': 'Table' }, whole);
}

// One of these begins at a place, or the character stands for itself. None can look back, and none
// can begin a search that goes on past the paragraph: the time a text takes grows with its length.
const MARKS = [
  [/^\\([!-/:-@[-`{-~])/, ([, character]) => character],
  [/^(`+)([^`](?:[^`]|(?!\1)`)*?)\1(?!`)/, ([, , text]) => el('code', {}, text.trim())],
  [/^!?\[([^\]\n]{0,500})\]\(\s*<?([^\s<>()]{1,2000}(?:\([^\s()]{0,200}\)[^\s<>()]{0,500})?)>?(?:\s+"[^"\n]{0,300}")?\s*\)/, link],
  [/^<((?:https?:\/\/|mailto:)[^\s<>]{1,2000})>/, ([, address]) => anchor(address, [address])],
  [/^https?:\/\/[^\s<>"')\]]{1,2000}[^\s<>"')\].,;:!?*_~`]/, ([address]) => anchor(address, [address])],
  [/^\*\*(?=\S)((?:[^*\n]|\*(?!\*)|\n(?!\n)){1,1000}?\S|\S)\*\*/, emphasis('strong')],
  [/^\*(?=[^\s*])((?:[^*\n]|\*\*[^*]{1,1000}\*\*){0,1000}?[^\s*]|[^\s*])\*(?!\*)/, emphasis('em')],
  [/^__(?=\S)([^_\n]{0,1000}?\S)__(?![\p{L}\p{N}])/u, emphasis('strong'), true],
  [/^_(?=[^\s_])([^_\n]{0,1000}?[^\s_])_(?![\p{L}\p{N}])/u, emphasis('em'), true],
  [/^~~(?=\S)([^~\n]{0,1000}?\S)~~/, emphasis('s')],
  [/^(?: {2,}|\\)\n/, () => el('br')],
];

function emphasis(tag) {
  return ([, text], depth) => el(tag, {}, ...inline(text, depth + 1));
}

function link([whole, text, address], depth) {
  return anchor(address, whole.startsWith('!') ? [text || 'image'] : inline(text, depth + 1));
}

/** A link that leads out, or its text where it would lead elsewhere. */
function anchor(address, content) {
  if (!/^(https?:\/\/|mailto:)/i.test(address)) return el('span', {}, ...content);
  const attributes = { href: address, target: '_blank', rel: 'noopener noreferrer nofollow' };
  return el('a', attributes, ...content);
}

const SPECIAL = /[\\`![<*_~h \n]/;

/** Text with its marks made into elements. */
function inline(text, depth) {
  if (depth > DEEPEST) return [text];
  const made = [];
  let plain = '';
  for (let at = 0; at < text.length; ) {
    const rest = text.slice(at, at + 8192);
    const skip = rest.search(SPECIAL);
    if (skip !== 0) {
      const length = skip < 0 ? rest.length : skip;
      plain += rest.slice(0, length);
      at += length;
      continue;
    }
    const isInWord = /[\p{L}\p{N}]/u.test(text[at - 1] ?? '');
    const found = mark(rest, depth, isInWord);
    if (found) {
      made.push(plain, found.node);
      plain = '';
      at += found.length;
    } else {
      // A run of one character that begins nothing is read at once.
      const run = /^(`+|\*+|_+|~+| +|.|\n)/.exec(rest)[0].length;
      plain += rest.slice(0, run);
      at += run;
    }
  }
  made.push(plain);
  return made.filter((part) => part !== '');
}

function mark(rest, depth, isInWord) {
  for (const [pattern, make, isOfWords] of MARKS) {
    if (isInWord && (isOfWords || rest[0] === 'h')) continue;
    const match = pattern.exec(rest);
    if (match) return { node: make(match, depth), length: match[0].length };
  }
  return null;
}
