// The server, as this page sees it: the same routes that any client uses.

import { key } from './store.js';

/** Something the server refused, in its words. */
export class Refused extends Error {
  constructor(status, message, code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

function headers() {
  const own = key().key;
  const all = { 'content-type': 'application/json' };
  if (own) all.authorization = `Bearer ${own}`;
  return all;
}

async function refusal(response) {
  let error = {};
  try {
    error = (await response.json()).error ?? {};
  } catch {
    // A reply without words.
  }
  const words = error.message || `The server answered ${response.status}.`;
  return new Refused(response.status, words, error.code);
}

/** The model that answers. */
export async function model() {
  const response = await fetch('/v1/models', { headers: headers() });
  if (!response.ok) throw await refusal(response);
  const found = (await response.json()).data[0];
  return found ? { id: found.display_name, context: found.context_length } : null;
}

/** How far loading is: `{ status, loaded, total, error }`. */
export async function health() {
  const response = await fetch('/health');
  return response.json();
}

const EFFORTS = {
  none: { thinking: { type: 'disabled' } },
  normal: { thinking: { type: 'enabled' } },
  max: { thinking: { type: 'enabled' }, reasoning_effort: 'max' },
};

/**
 * Asks for an answer, and yields what comes of it:
 * `{ thought }`, `{ text }`, `{ prefill: { done, total } }`, `{ finish }`, `{ usage }`.
 */
export async function* ask(model, messages, effort, signal) {
  const body = {
    model,
    messages,
    stream: true,
    stream_options: { include_usage: true },
    ...EFFORTS[effort],
  };
  const response = await fetch('/v1/chat/completions', {
    method: 'POST',
    headers: headers(),
    body: JSON.stringify(body),
    signal,
  });
  if (!response.ok) throw await refusal(response);
  for await (const data of events(response.body)) {
    if (data === '[DONE]') return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Refused(200, chunk.error.message, chunk.error.code);
    if (chunk.prefill) yield { prefill: chunk.prefill };
    if (chunk.usage) yield { usage: chunk.usage };
    const choice = chunk.choices[0];
    if (choice?.delta?.reasoning_content) yield { thought: choice.delta.reasoning_content };
    if (choice?.delta?.content) yield { text: choice.delta.content };
    if (choice?.finish_reason) yield { finish: choice.finish_reason };
  }
  throw new Error('The connection broke off.');
}

/** The data of server-sent events. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let held = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      held += value;
      const parts = held.split('\n\n');
      held = parts.pop();
      for (const part of parts) {
        const lines = part.split('\n').filter((line) => line.startsWith('data:'));
        if (lines.length) yield lines.map((line) => line.slice(5).trim()).join('\n');
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
