// Conversations as a file, and back. A file comes from anywhere: only what is understood is taken,
// field by field, and nothing of it is ever read as markup.

const FORMAT = 'ds4-chats';
const VERSION = 1;
const MOST_BYTES = 64 * 1024 * 1024;
const MOST_MESSAGES = 20_000;
const STATES = ['done', 'stopped', 'length', 'broken'];
const FIGURES = ['prompt', 'cached', 'generated', 'reasoning', 'first', 'writing', 'thinking'];

export function exported(chats) {
  return JSON.stringify({ format: FORMAT, version: VERSION, chats }, null, 1);
}

/** The conversations in a file. Throws what is wrong with it. */
export async function imported(file) {
  if (file.size > MOST_BYTES) throw new Error('The file is larger than 64 MiB.');
  let value;
  try {
    value = JSON.parse(await file.text());
  } catch {
    throw new Error('The file is not JSON. Choose one that this page exported.');
  }
  if (value?.format !== FORMAT || !Array.isArray(value.chats)) {
    throw new Error('The file holds no chats. Choose one that this page exported.');
  }
  if (value.version !== VERSION) {
    throw new Error(`The file has version ${String(value.version)}; this page reads ${VERSION}.`);
  }
  return value.chats.map((chat, index) => readChat(chat, `chats[${index}]`));
}

/** A conversation, checked. */
export function readChat(value, where) {
  const nodes = Object.create(null);
  const all = object(value?.nodes, `${where}.nodes`);
  if (Object.keys(all).length > MOST_MESSAGES) {
    throw new Error(`${where} has more than ${MOST_MESSAGES} messages.`);
  }
  for (const [id, node] of Object.entries(all)) {
    name(id, `${where}.nodes`);
    nodes[id] = readNode(id, node, `${where}.nodes.${id}`);
  }
  checkTree(nodes, where);
  const chosen = Object.create(null);
  for (const [parent, id] of Object.entries(object(value.chosen, `${where}.chosen`))) {
    if (nodes[id]?.parent === parent) chosen[parent] = id;
  }
  return {
    id: name(value.id, `${where}.id`),
    title: text(value.title, `${where}.title`).slice(0, 200),
    system: text(value.system, `${where}.system`),
    created: number(value.created, `${where}.created`),
    updated: number(value.updated, `${where}.updated`),
    nodes,
    chosen,
  };
}

function readNode(id, value, where) {
  if (value?.role !== 'user' && value?.role !== 'assistant') {
    throw new Error(`${where}.role must be user or assistant.`);
  }
  const node = {
    id,
    parent: value.parent === '' ? '' : name(value.parent, `${where}.parent`),
    role: value.role,
    text: text(value.text, `${where}.text`),
    thought: text(value.thought ?? '', `${where}.thought`),
    created: number(value.created, `${where}.created`),
    // What was under way when it was written is over now.
    state: STATES.includes(value.state) ? value.state : 'stopped',
  };
  if (typeof value.problem === 'string') node.problem = value.problem.slice(0, 2000);
  if (value.figures) {
    node.figures = {};
    for (const figure of FIGURES) {
      if (Number.isFinite(value.figures[figure])) node.figures[figure] = value.figures[figure];
    }
  }
  return node;
}

/** Every message must hang on the root; a ring would never end. */
function checkTree(nodes, where) {
  const sound = new Set(['']);
  for (const start of Object.values(nodes)) {
    const walked = new Set();
    let node = start;
    while (node && !sound.has(node.id) && !walked.has(node.id)) {
      walked.add(node.id);
      node = node.parent === '' ? { id: '' } : nodes[node.parent];
    }
    if (!node || !sound.has(node.id)) {
      throw new Error(`${where}: message ${start.id} hangs on nothing.`);
    }
    for (const id of walked) sound.add(id);
  }
}

function object(value, where) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Error(`${where} must be an object.`);
  }
  return value;
}

function text(value, where) {
  if (typeof value !== 'string') throw new Error(`${where} must be text.`);
  return value;
}

function number(value, where) {
  if (!Number.isFinite(value)) throw new Error(`${where} must be a number.`);
  return value;
}

function name(value, where) {
  if (typeof value !== 'string' || !/^[0-9a-z-]{1,64}$/.test(value)) {
    throw new Error(`${where}: ${JSON.stringify(String(value).slice(0, 40))} is no id.`);
  }
  return value;
}

/** Gives the browser a file to keep. */
export function download(fileName, type, content) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = fileName;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
