// Real clients against a real server. Run by ./run.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { serve } from '../scripted.mjs';
import { AGENTS, agent, overflow, scriptOf } from './agents.mjs';
import { PROGRAMS } from './pypi.mjs';
import { sdks } from './sdk.mjs';

const { TOOLS, WORK } = process.env;
const here = fileURLToPath(new URL('.', import.meta.url));
const program = join(here, '../../target/debug/ds4');
const story = Array.from({ length: 4000 }, (_, at) => `word${at}`).join(' ');
const lines = JSON.parse(readFileSync(join(here, 'script.json'), 'utf8'));
for (const line of lines) line.say = line.say.replace('STORY', story);

const wanted = process.argv.slice(2);
const isWanted = (name) => !wanted.length || wanted.some((word) => name.startsWith(word));
let failed = 0;

async function test(name, work) {
  if (!isWanted(name)) return;
  const from = Date.now();
  try {
    const note = await work();
    console.log(`ok      ${name} (${((Date.now() - from) / 1000).toFixed(1)} s)${note ? `: ${note}` : ''}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}\n${error.stack}`);
  }
}

if (['Python', 'JavaScript'].some((name) => isWanted(name) || wanted.some((word) => word.startsWith(name)))) {
  const server = await serve({ script: lines, work: WORK, context: 16_384 });
  await test('Python', async () => {
    const python = spawnSync(join(TOOLS, 'py/bin/python'), [join(here, 'sdk.py')], {
      env: { ...process.env, DS4_URL: server.address },
      stdio: 'inherit',
    });
    if (python.status !== 0) throw new Error(server.log().split('\n').slice(-6).join('\n'));
  });
  for (const [name, work] of Object.entries(await sdks(server.address, TOOLS))) await test(name, work);
  await server.stop();
}
for (const name of Object.keys(AGENTS)) {
  await test(name, async () => {
    const server = await serve({ script: scriptOf(name, lines), work: WORK, context: 131_072 });
    try {
      return await agent(name, { program, server, tools: TOOLS, work: WORK });
    } finally {
      await server.stop();
    }
  });
  await test(`${name}, overflow`, async () => {
    const context = AGENTS[name].small ?? 2048;
    const server = await serve({ script: scriptOf(name, lines), work: WORK, context });
    try {
      return await overflow(name, { program, server, tools: TOOLS, work: WORK });
    } finally {
      await server.stop();
    }
  });
}
for (const [name, work] of Object.entries(PROGRAMS)) {
  await test(name, async () => {
    const server = await serve({ script: lines, work: WORK, context: 16_384 });
    try {
      return await work({ server, tools: TOOLS, work: WORK });
    } finally {
      await server.stop();
    }
  });
}
console.log(failed ? `${failed} failed` : 'all passed');
process.exit(failed ? 1 : 0);
