// One message: how it looks, and what can be done with it.

import { copyButton, count, el, icon, iconButton, seconds } from './dom.js';
import { show } from './markdown.js';
import { place } from './tree.js';

/**
 * The view of a message. `acts` are what its buttons do: `edit(node, text)`, `again(node)`,
 * `turn(node, by)`.
 */
export function view(chat, node, acts) {
  return node.role === 'user' ? question(chat, node, acts) : answer(chat, node, acts);
}

function question(chat, node, acts) {
  const text = el('div.bubble', {}, node.text);
  const edit = iconButton('edit', 'Edit', () => begin());
  const tools = el('div.tools', {}, copyButton('Copy question', () => node.text), edit, branches(chat, node, acts));
  const element = el('article.message.question', { 'aria-label': 'You' }, text, tools);

  function begin() {
    const area = el('textarea', { 'aria-label': 'Edit the question', rows: '3' });
    area.value = node.text;
    const finish = () => {
      element.replaceChildren(text, tools);
      edit.focus();
    };
    const form = el(
      'form.editor',
      {
        onsubmit: (event) => {
          event.preventDefault();
          if (area.value.trim()) acts.edit(node, area.value.trim());
        },
        onkeydown: (event) => {
          if (event.key === 'Escape') {
            event.stopPropagation();
            finish();
          } else if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
            event.preventDefault();
            form.requestSubmit();
          }
        },
      },
      area,
      el(
        'div.editor-buttons',
        {},
        el('span.note', {}, 'The old question and its answers are kept.'),
        el('button.quiet', { type: 'button', onclick: finish }, 'Cancel'),
        el('button.strong', { type: 'submit' }, 'Ask'),
      ),
    );
    element.replaceChildren(form);
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  }

  return { element, update() {}, edit: begin };
}

function answer(chat, node, acts) {
  const summary = el('summary');
  const thought = el('div.thought.prose');
  const thinking = el('details.thinking', {}, summary, thought);
  const progress = el('div.prefill');
  const body = el('div.prose');
  const problem = el('p.problem', { role: 'alert' });
  const figures = el('span.figures');
  const tools = el('div.tools');
  const element = el('article.message.answer', { 'aria-label': 'Model' }, thinking, progress, body, problem, tools);
  let drawn = { thought: null, text: null, isOpen: null };

  function update(live = null) {
    const isOpen = node.state === 'open';
    element.setAttribute('aria-busy', String(isOpen));
    thinking.hidden = !node.thought;
    if (node.thought) {
      const isThinking = isOpen && !node.text;
      summary.replaceChildren(icon('chevron'), thinkingLine(node, isThinking));
      summary.classList.toggle('busy', isThinking);
      // Thoughts that nobody looks at are not laid out.
      if (thinking.open && drawn.thought !== node.thought) {
        show(thought, node.thought);
        drawn.thought = node.thought;
      }
    }
    progress.hidden = !(isOpen && !node.text && !node.thought);
    if (!progress.hidden) progress.replaceChildren(...waiting(live));
    if (drawn.text !== node.text) {
      show(body, node.text);
      drawn.text = node.text;
    }
    body.classList.toggle('growing', isOpen && Boolean(node.text));
    problem.textContent = problemOf(node);
    problem.hidden = !problem.textContent;
    figures.textContent = figuresOf(node, live);
    if (drawn.isOpen !== isOpen) {
      const again = iconButton('again', 'Answer again', () => acts.again(node));
      const buttons = [copyButton('Copy answer', () => node.text), again, branches(chat, node, acts)];
      tools.replaceChildren(...(isOpen ? [] : buttons), figures);
      drawn.isOpen = isOpen;
    }
  }

  thinking.addEventListener('toggle', () => update());
  update();
  return { element, update };
}

function thinkingLine(node, isThinking) {
  if (isThinking) return 'Thinking';
  const took = node.figures?.thinking;
  return took ? `Thought for ${seconds(took)}` : 'Thoughts';
}

/** While nothing of the answer is there yet. */
function waiting(live) {
  const { done, total } = live?.prefill ?? {};
  if (!total) return [el('span.busy', {}, live?.note ?? 'Waiting for the model')];
  const bar = el('progress', { max: String(total), value: String(done), 'aria-label': 'Reading' });
  return [el('span.busy', {}, `Reading ${count(done)} of ${count(total)} tokens`), bar];
}

function problemOf(node) {
  if (node.state === 'stopped') return node.problem ?? 'Stopped.';
  if (node.state === 'length') return 'The context, or the limit of the answer, is full.';
  if (node.state === 'broken') return node.problem ?? 'The answer broke off.';
  return '';
}

function figuresOf(node, live) {
  if (node.state === 'open') return live?.speed ? `${live.speed.toFixed(1)} tokens/s` : '';
  const { generated, writing, prompt, cached, first } = node.figures ?? {};
  if (!generated) return '';
  const parts = [`${count(generated)} ${generated === 1 ? 'token' : 'tokens'}`];
  if (generated > 1 && writing > MEASURABLE) parts.push(`${((generated - 1) / (writing / 1000)).toFixed(1)} tokens/s`);
  if (first) parts.push(`first after ${seconds(first)}`);
  if (prompt > 0 && cached > 0) parts.push(`${Math.round((cached / prompt) * 100)} % of the prompt remembered`);
  return parts.join(' · ');
}

/** What arrives within so many milliseconds says nothing about speed. */
const MEASURABLE = 200;

/** Which of several versions this is. */
function branches(chat, node, acts) {
  const { siblings, at } = place(chat, node);
  if (siblings.length < 2) return '';
  const turn = (by, drawing, name) =>
    iconButton(drawing, name, () => acts.turn(node, by), { disabled: !siblings[at + by], 'data-by': String(by) });
  const group = { role: 'group', 'aria-label': `Version ${at + 1} of ${siblings.length}` };
  return el(
    'span.branches',
    group,
    turn(-1, 'back', 'Version before'),
    el('span', {}, `${at + 1}/${siblings.length}`),
    turn(1, 'forth', 'Version after'),
  );
}
