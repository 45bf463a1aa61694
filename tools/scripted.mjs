// Starts the server of scripted answers: crates/server/examples/scripted.rs.

import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
let count = 0;

/** A server on a free port: `{ address, log(), stop() }`. `work` holds mini.gguf. */
export async function serve({ script, work, context = 65536, keys = [], sessions = 2 }) {
  const file = join(work, `script-${(count += 1)}.json`);
  writeFileSync(file, JSON.stringify(script));
  const flags = ['--model', join(work, 'mini.gguf'), '--script', file, '--ctx', context, '--sessions', sessions];
  const own = keys.flatMap((key) => ['--api-key', key]);
  const program = join(root, 'target/debug/examples/scripted');
  const child = spawn(program, [...flags.map(String), ...own], { stdio: ['pipe', 'pipe', 'pipe'] });
  let log = '';
  child.stderr.on('data', (data) => (log += data));
  const ended = new Promise((resolve) => child.on('close', resolve));
  const address = await new Promise((resolve, reject) => {
    child.stdout.once('data', (data) => resolve(String(data).trim()));
    ended.then((code) => reject(new Error(`the server ended with ${code}: ${log}`)));
  });
  const stop = () => {
    child.stdin.end();
    return ended;
  };
  return { address, log: () => log, stop };
}
