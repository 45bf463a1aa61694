// Real coding agents, started by `ds4 launch`, each in a home of its own: a question, two commands in
// parallel, their results, the answer; then the conversation taken up again by a new process, whose
// prompt must be found in memory; then an answer that is left, and a prompt that does not fit.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const ONE = 'ds4-step-one: run both commands.';
const TWO = 'ds4-step-two: go on.';
const STORY = 'Tell me a long story.';

/** Whatever an agent says of a prompt that does not fit. */
const OVERFLOW = /too long|context|maximum|exceed|compact/i;

/** What the model calls each agent's shell, with which arguments; how it is asked headless. */
export const AGENTS = {
  claude: {
    path: '/v1/messages',
    shell: (command) => ['Bash', { command, description: 'A test' }],
    first: ['-p', ONE, '--allowedTools', 'Bash'],
    second: ['-p', TWO, '--continue'],
    ask: (text) => ['-p', text],
    // With less it does not even ask.
    small: 40_960,
  },
  codex: {
    path: '/v1/responses',
    shell: (command) => ['exec_command', { cmd: command }],
    first: ['exec', '--skip-git-repo-check', '--dangerously-bypass-approvals-and-sandbox', ONE],
    second: ['exec', '--skip-git-repo-check', '--dangerously-bypass-approvals-and-sandbox', 'resume', '--last', TWO],
    ask: (text) => ['exec', '--skip-git-repo-check', '--dangerously-bypass-approvals-and-sandbox', text],
  },
  opencode: {
    path: '/v1/chat/completions',
    shell: (command) => ['bash', { command, description: 'A test' }],
    first: ['run', ONE],
    second: ['run', '--continue', TWO],
    ask: (text) => ['run', text],
  },
  pi: {
    path: '/v1/chat/completions',
    shell: (command) => ['bash', { command }],
    first: ['--offline', '-p', ONE],
    second: ['--offline', '--continue', '-p', TWO],
    ask: (text) => ['--offline', '-p', text],
  },
};

const invoke = ([name, given]) => {
  const own = Object.entries(given).map(([key, value]) =>
    `<｜DSML｜parameter name="${key}" string="true">${value}</｜DSML｜parameter>`);
  return [`<｜DSML｜invoke name="${name}">`, ...own, '</｜DSML｜invoke>'].join('\n');
};

/** The script with an agent's own calls. */
export function scriptOf(agent, lines) {
  const { shell } = AGENTS[agent];
  const [name] = shell('');
  const one = invoke(shell('echo alpha-$((40 + 2))'));
  const two = invoke(shell('echo beta-$((40 + 3))'));
  return lines.map((line) => ({
    ...line,
    when: line.when?.map((word) => word.replace('SHELL', `"name": "${name}"`)),
    say: line.say.replace('CALL-ONE', () => one).replace('CALL-TWO', () => two),
  }));
}

export async function agent(name, { program, server, tools, work }) {
  const { folder, env } = homeOf(name, tools, work);
  const launch = (url, words) => ['launch', name, '--url', url, '--', ...words];
  const run = (words) => started(program, launch(server.address, words), folder, env);
  const { first, second, path: route } = AGENTS[name];
  const one = await run(first);
  assert.match(one, /ds4-final alpha-42 beta-43/, `${one}\n${server.log()}`);
  const before = answers(server, route);
  const two = await run(second);
  assert.match(two, /ds4-resumed/, `${two}\n${server.log()}`);
  const resumed = answers(server, route).slice(before.length);
  // Of the main conversation: the longest prompt each.
  const longest = (all) => all.reduce((most, answer) => (answer.prompt > most.prompt ? answer : most));
  const [was, is] = [longest(before), longest(resumed)];
  assert.ok(is.cached >= 0.9 * was.prompt, `${is.cached} of ${was.prompt} tokens found again`);
  const toolTurn = before.filter((answer) => answer.prompt > 0.5 * was.prompt);
  assert.ok(toolTurn.at(-1).cached >= 0.9 * toolTurn[0].prompt, 'the results follow the calls in memory');
  await cancelled(server, () => begin(program, launch(server.address, AGENTS[name].ask(STORY)), folder, env));
  return `${was.prompt} tokens; ${is.cached} of ${is.prompt} found when it is taken up again`;
}

/** An agent that is killed in the middle of an answer costs nothing more. */
export async function cancelled(server, start) {
  const running = async () => (await (await fetch(`${server.address}/health`)).json()).running;
  const { child, ended } = start();
  ended.catch(() => {});
  for (let tries = 0; !(await running()); tries += 1) {
    assert.ok(tries < 2400 && child.exitCode === null, 'the agent asks nothing');
    await sleep(50);
  }
  await sleep(1000);
  process.kill(-child.pid, 'SIGKILL');
  for (let tries = 0; await running(); tries += 1) {
    assert.ok(tries < 1200, 'an answer goes on although its agent is gone');
    await sleep(50);
  }
}

/** An agent whose first words do not fit says so, and does not ask forever. */
export async function overflow(name, { program, server, tools, work }) {
  const { folder, env } = homeOf(name, tools, work);
  const words = ['launch', name, '--url', server.address, '--', ...AGENTS[name].ask(ONE)];
  const { child, ended } = begin(program, words, folder, env);
  const limit = setTimeout(() => process.kill(-child.pid, 'SIGKILL'), 300_000);
  const { code, signal, text } = await ended;
  clearTimeout(limit);
  assert.equal(signal, null, `it never ended\n${text}`);
  assert.match(text, OVERFLOW, `it ended with ${code}`);
  const refused = server.log().split('\n').filter((line) => line.includes(` ${AGENTS[name].path} 400`)).length;
  assert.ok(refused >= 1 && refused <= 20, `${refused} requests were refused\n${server.log()}`);
  return `refused ${refused} times`;
}

/** The answers the server has logged on a route: tokens of the prompt, and found of it. */
export function answers(server, route) {
  const lines = server.log().split('\n').filter((line) => line.includes(route));
  const found = lines.flatMap((line) => {
    const [, prompt, cached] = /prompt (\d+) \(cached (\d+)\)/.exec(line) ?? [];
    return prompt ? [{ prompt: Number(prompt), cached: Number(cached) }] : [];
  });
  return found;
}

/** A home of its own, with a project. */
function homeOf(name, tools, work) {
  const home = mkdtempSync(join(work, `${name}-`));
  const folder = join(home, 'project');
  mkdirSync(folder);
  writeFileSync(join(folder, 'README.md'), '# A project\n');
  const path = `${join(tools, 'node_modules/.bin')}:${process.env.PATH}`;
  return { folder, env: { HOME: home, PATH: path, TERM: 'dumb', IS_SANDBOX: '1' } };
}

/** A process in a group of its own, which can be killed as a whole. */
export function begin(program, words, folder, env) {
  const child = spawn(program, words, { cwd: folder, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (text += data));
  const ended = new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, text }));
  });
  return { child, ended };
}

/** What it says until it has ended well. */
export async function started(program, words, folder, env) {
  const { child, ended } = begin(program, words, folder, env);
  const limit = setTimeout(() => process.kill(-child.pid, 'SIGKILL'), 1_200_000);
  const { code, text } = await ended;
  clearTimeout(limit);
  if (code !== 0) throw new Error(`${words.join(' ')} ended with ${code}\n${text}`);
  return text;
}
