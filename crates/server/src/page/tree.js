// A conversation is a tree: editing a question or asking for another answer adds a sibling, and
// nothing is ever overwritten. What is shown, and sent, is one path: at every fork the child that
// was chosen last.

/** What the root's children have as their parent. */
export const ROOT = '';

/** A name nobody else has. `crypto.randomUUID` is missing where a page comes without TLS. */
export function freshId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export function newChat(system = '') {
  const now = Date.now();
  return { id: freshId(), title: '', system, created: now, updated: now, nodes: {}, chosen: {} };
}

/** Adds a message below `parent` and chooses it. */
export function add(chat, parent, role, text = '') {
  const node = { id: freshId(), parent, role, text, thought: '', created: Date.now(), state: 'done' };
  chat.nodes[node.id] = node;
  chat.chosen[parent] = node.id;
  return node;
}

export function children(chat, parent) {
  return Object.values(chat.nodes).filter((node) => node.parent === parent);
}

/** The messages that are shown, in order. */
export function path(chat) {
  const below = new Map();
  for (const node of Object.values(chat.nodes)) {
    below.set(node.parent, [...(below.get(node.parent) ?? []), node]);
  }
  const shown = [];
  for (let parent = ROOT; below.has(parent); parent = shown.at(-1).id) {
    const siblings = below.get(parent);
    const chosen = siblings.find((node) => node.id === chat.chosen[parent]);
    shown.push(chosen ?? siblings.at(-1));
  }
  return shown;
}

/** Where a message stands among its siblings. */
export function place(chat, node) {
  const siblings = children(chat, node.parent);
  return { siblings, at: siblings.findIndex((other) => other.id === node.id) };
}

/** Chooses the sibling `step` further. Whether there is one. */
export function step(chat, node, by) {
  const { siblings, at } = place(chat, node);
  const other = siblings[at + by];
  if (other) chat.chosen[node.parent] = other.id;
  return Boolean(other);
}

/** What is sent: the messages before `node`, with the system prompt in front. */
export function messages(chat, node) {
  const sent = [];
  for (let at = chat.nodes[node.parent]; at; at = chat.nodes[at.parent]) {
    const message = { role: at.role, content: at.text };
    if (at.thought) message.reasoning_content = at.thought;
    sent.unshift(message);
  }
  if (chat.system.trim()) sent.unshift({ role: 'system', content: chat.system });
  return sent;
}

/** What a conversation is called: its title, or how it begins. */
export function titleOf(chat) {
  if (chat.title) return chat.title;
  const first = path(chat).find((node) => node.role === 'user');
  const line = (first?.text ?? '').trim().split('\n')[0];
  return line.length > 60 ? `${line.slice(0, 59)}…` : line || 'New chat';
}

/** The conversation as Markdown, for people. */
export function asMarkdown(chat) {
  const parts = [`# ${titleOf(chat)}`];
  if (chat.system.trim()) parts.push(`*System prompt*\n\n${chat.system.trim()}`);
  for (const node of path(chat)) {
    parts.push(`## ${node.role === 'user' ? 'You' : 'Model'}\n\n${node.text.trim()}`);
  }
  return `${parts.join('\n\n')}\n`;
}
