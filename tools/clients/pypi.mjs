// Command-line clients from PyPI: llm (an answer, a conversation that goes on, tools, an answer that
// is left, a prompt that does not fit) and aider (a file edited, and edited again).

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { answers, begin, cancelled, started } from './agents.mjs';

const PATH = '/v1/chat/completions';

const WEATHER = `
def get_weather(city: str, days: int = 1) -> str:
    "The weather of a city"
    return "18 degrees" if city == "Paris" else "7 degrees"
`;

/** Each gets the server, where the programs are, and a folder; it gives a line to be shown. */
export const PROGRAMS = { llm, aider };

async function llm({ server, tools, work }) {
  const home = mkdtempSync(join(work, 'llm-'));
  const model = ['model_id: ds4', 'model_name: m', `api_base: ${server.address}/v1`, 'supports_tools: true'];
  writeFileSync(join(home, 'extra-openai-models.yaml'), `- ${model.join('\n  ')}\n`);
  const env = { HOME: home, PATH: process.env.PATH, LLM_USER_PATH: home, OPENAI_API_KEY: 'none' };
  const program = join(tools, 'llm/bin/llm');
  const run = (words) => started(program, words, home, env);
  assert.match(await run(['-m', 'ds4', 'Say hello']), /^Hello there\./);
  assert.match(await run(['-c', 'And again']), /^Hello again\./);
  const [first, second] = answers(server, PATH);
  // Without tools a thought is not part of later prompts: they part where it began.
  assert.ok(second.cached >= first.prompt - 2, `${second.cached} of ${first.prompt} tokens found again`);
  const asked = ['-m', 'ds4', '--functions', WEATHER, 'What is the weather in Paris and Oslo?'];
  assert.match(await run(asked), /Paris 18, Oslo 7\./);
  const [called, concluded] = answers(server, PATH).slice(2);
  assert.ok(concluded.cached >= called.prompt, 'the results follow the calls in memory');
  await cancelled(server, () => begin(program, ['-m', 'ds4', 'Tell me a long story'], home, env));
  const { code, text } = await begin(program, ['-m', 'ds4', 'too much '.repeat(10_000)], home, env).ended;
  assert.notEqual(code, 0);
  assert.match(text, /maximum context length/);
  return `${second.cached} of ${second.prompt} tokens found when it goes on`;
}

async function aider({ server, tools, work }) {
  const home = mkdtempSync(join(work, 'aider-'));
  const folder = join(home, 'project');
  mkdirSync(folder);
  const file = join(folder, 'hello.txt');
  writeFileSync(file, 'nothing yet\n');
  const env = { HOME: home, PATH: process.env.PATH, TERM: 'dumb', OPENAI_API_KEY: 'none' };
  env.OPENAI_API_BASE = `${server.address}/v1`;
  const flags = '--model openai/m --no-git --yes-always --no-show-model-warnings --no-check-update --analytics-disable '
    + '--no-show-release-notes --no-detect-urls --no-pretty --edit-format whole --restore-chat-history';
  const run = (message) =>
    started(join(tools, 'aider/bin/aider'), [...flags.split(' '), '--message', message, 'hello.txt'], folder, env);
  const one = await run('ds4-edit-one');
  assert.equal(readFileSync(file, 'utf8'), 'alpha-42\n', `${one}\n${server.log()}`);
  const before = answers(server, PATH);
  const two = await run('ds4-edit-two');
  assert.equal(readFileSync(file, 'utf8'), 'beta-43\n', `${two}\n${server.log()}`);
  const after = answers(server, PATH).slice(before.length);
  // The file has changed since, so what stands before it is what both have alike.
  const [was, is] = [before.at(-1), after.at(-1)];
  assert.ok(is.cached >= 0.5 * was.prompt, `${is.cached} of ${was.prompt} tokens found again`);
  return `${is.cached} of ${is.prompt} tokens found when it goes on`;
}
