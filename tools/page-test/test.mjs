// What people do with the page, done in a browser. Run by ./run.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { serve } from '../scripted.mjs';

const { CHROMIUM, SHOTS, TOOLS, WORK } = process.env;
const { chromium } = createRequire(join(TOOLS, 'package.json'))('playwright-core');

// Everything that would be noticed if it ran.
const ATTACK = [
  '<script>window.hacked = 1</script>',
  '<img src=x onerror="window.hacked = 2">',
  '[click](javascript:window.hacked=3) [data](data:text/html,<script>window.hacked=4</script>)',
  '<a href="javascript:window.hacked=5" onclick="window.hacked=6">x</a>',
  '![picture](https://example.invalid/pixel.png)',
  '<svg/onload=window.hacked=7><style>*{display:none}</style><iframe src=javascript:window.hacked=8>',
  '```html"><script>window.hacked=9</script>\n</code></pre><script>window.hacked=10</script>\n```',
].join('\n\n');

const MARKDOWN = `## A hash table, step by step

It keeps **pairs** in *slots*, and \`n / slots\` is its *load*. When that is too high, it grows:

1. Take a new array, twice as large.
2. Put every pair where it belongs **now**:
   - its hash is the same,
   - its slot is not.
3. Drop the old array.

\`\`\`rust
fn grow(&mut self) {
    let old = std::mem::replace(&mut self.slots, vec![None; self.slots.len() * 2]);
    for (key, value) in old.into_iter().flatten() {
        self.insert(key, value); // hashes again: the mask is wider
    }
}
\`\`\`

| load | probes, found | probes, missing |
|:-----|--------------:|----------------:|
| 0.5  | 1.5           | 2.5             |
| 0.9  | 5.5           | 50.5            |

> Growing costs a lot once, and little per insertion: *amortised* constant time.

See [the paper](https://example.com/hash) or https://example.com/table.`;

const words = (count) => Array.from({ length: count }, (_, at) => `word${at}`).join(' ');
const script = [
  { turn: ['hash table'], say: `The question is about growing. I should show code and a table.</think>${MARKDOWN}` },
  { turn: ['attack'], say: `${ATTACK}</think>${ATTACK}` },
  { turn: ['long story'], say: `</think>${words(4000)}` },
  { turn: ['second version'], say: '</think>Second answer.' },
  { turn: ['first version'], say: '</think>First answer.' },
  { turn: ['what is my system'], when: ['You are a pirate'], say: '</think>Arr.' },
  { say: 'A short thought.</think>A short answer.' },
];

const server = await serve({ script, work: WORK, context: 32768 });
const keyed = await serve({ script, work: WORK, context: 8192, keys: ['sesame'] });
const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-component-update',
    '--disable-background-networking', '--disable-sync'],
});

/** A page of a browser that was never here, and everything that went wrong in it. */
async function open(address, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1180, height: 800 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const wrong = [];
  page.on('pageerror', (error) => wrong.push(String(error)));
  page.on('request', (request) => {
    if (!request.url().startsWith(address) && !request.url().startsWith('blob:')) wrong.push(request.url());
  });
  page.on('console', (message) => {
    const isExpected = /status of 40[0-9]/.test(message.text());
    if (message.type() === 'error' && !isExpected) wrong.push(message.text());
  });
  await page.goto(address);
  await page.locator('#empty-model, #banner').first().waitFor();
  return { page, context, wrong };
}

async function shot(page, name) {
  if (!SHOTS) return;
  mkdirSync(SHOTS, { recursive: true });
  await page.screenshot({ path: join(SHOTS, `${name}.png`) });
}

const ask = async (page, text) => {
  await page.locator('#question').fill(text);
  await page.keyboard.press('Enter');
};
const answered = (page) => page.locator('.answer:last-child[aria-busy=false]').waitFor();
const lastAnswer = (page) => page.locator('.answer .prose:not(.thought)').last();
const hacked = (page) => page.evaluate(() => window.hacked);

const tests = {
  async 'an empty page says where one is'({ page, wrong }) {
    await page.getByText('scripted-1').waitFor();
    assert.match(await page.locator('#empty-note').textContent(), /32,768 tokens/);
    await shot(page, 'empty-light');
    assert.deepEqual(wrong, []);
  },

  async 'an answer is streamed, and shown as it is meant'({ page, wrong }) {
    await ask(page, 'How does a hash table grow?');
    await page.locator('.prefill, .thinking, .prose').first().waitFor();
    await answered(page);
    const prose = lastAnswer(page);
    assert.equal(await prose.locator('ol > li').count(), 3);
    assert.equal(await prose.locator('ol ul > li').count(), 2);
    assert.match(await prose.locator('pre code').textContent(), /wider\n    }\n}$/);
    assert.equal(await prose.locator('td').count(), 6);
    assert.equal(await prose.locator('a').count(), 2);
    assert.equal(await prose.locator('blockquote em').textContent(), 'amortised');
    assert.match(await page.locator('.figures').textContent(), /tokens\/s/);
    assert.match(await page.locator('#context').getAttribute('aria-valuetext'), /^[\d,]+ of 32,768 tokens$/);
    assert.match(await page.locator('#status').textContent(), /Answer complete/);
    const thinking = page.locator('details.thinking');
    assert.equal(await thinking.getAttribute('open'), null, 'thoughts are folded');
    assert.match(await thinking.locator('summary').textContent(), /Thought/);
    await thinking.locator('summary').click();
    await page.getByText('I should show code and a table.').waitFor();
    await page.locator('#thread').evaluate((thread) => thread.scrollTo(0, 0));
    await shot(page, 'answer-light');
    await page.locator('#question').blur();
    await page.keyboard.press('t');
    await shot(page, 'answer-dark');
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'dark');
    assert.deepEqual(wrong, []);
  },

  async 'code is copied'({ page, context }) {
    await context.grantPermissions(['clipboard-read', 'clipboard-write']);
    await ask(page, 'How does a hash table grow?');
    await answered(page);
    await page.getByLabel('Copy code').click();
    await page.locator('#status', { hasText: 'Copied' }).waitFor();
    assert.match(await page.evaluate(() => navigator.clipboard.readText()), /^fn grow/);
  },

  async 'stopping keeps what came, and the next question follows it'({ page, wrong }) {
    await ask(page, 'Tell me a long story');
    await lastAnswer(page).getByText('word5 ').waitFor();
    assert.equal(await page.locator('#send').getAttribute('aria-label'), 'Stop');
    await shot(page, 'streaming');
    await page.keyboard.press('Escape');
    await page.getByText('Stopped.').waitFor();
    const text = await lastAnswer(page).textContent();
    assert.ok(text.startsWith('word0 ') && !text.includes('word3999'));
    await ask(page, 'And now?');
    await page.getByText('A short answer.').waitFor();
    await answered(page);
    assert.deepEqual(wrong, []);
  },

  async 'editing and answering again are branches, and survive a reload'({ page, wrong }) {
    await ask(page, 'first version');
    await page.getByText('First answer.').waitFor();
    await answered(page);
    await page.getByLabel('Edit', { exact: true }).click();
    await page.getByLabel('Edit the question').fill('second version');
    await page.keyboard.press('Enter');
    await page.getByText('Second answer.').waitFor();
    await answered(page);
    assert.equal(await page.getByText('First answer.').count(), 0);
    await page.getByLabel('Answer again').click();
    await page.locator('.answer .branches', { hasText: '2/2' }).waitFor();
    await answered(page);
    await shot(page, 'branches');
    await page.reload();
    await page.getByText('Second answer.').waitFor();
    await page.locator('.question').getByLabel('Version before').click();
    await page.getByText('First answer.').waitFor();
    assert.equal(await page.locator('.bubble').textContent(), 'first version');
    await page.reload();
    await page.getByText('First answer.').waitFor();
    assert.deepEqual(wrong, []);
  },

  async 'the second question finds the first in memory'({ page }) {
    await ask(page, 'How does a hash table grow?');
    await answered(page);
    await ask(page, 'And then?');
    await page.locator('.figures', { hasText: 'remembered' }).waitFor();
  },

  async 'no thinking means none, and the system prompt is told'({ page }) {
    await page.getByText('No thinking').click();
    await page.locator('#system').click();
    await page.locator('#system-text').fill('You are a pirate');
    await shot(page, 'system');
    await page.locator('#system-dialog').getByText('Done').click();
    await ask(page, 'what is my system');
    await page.getByText('Arr.').waitFor();
    await answered(page);
    assert.equal(await page.locator('details.thinking').isVisible(), false);
  },

  async 'what models, titles and files say never runs'({ page, context, wrong }) {
    await ask(page, `attack ${ATTACK}`);
    await answered(page);
    await page.locator('details.thinking summary').click();
    assert.equal(await hacked(page), undefined);
    assert.equal(await page.locator('#messages script, #messages img, #messages iframe, #messages svg:not(.icon)').count(), 0);
    for (const href of await page.locator('#messages a').evaluateAll((all) => all.map((one) => one.href))) {
      assert.match(href, /^https?:/);
    }
    await shot(page, 'attack');
    await page.locator('#rename').click();
    await page.locator('#ask-text').fill('<img src=x onerror="window.hacked=20">');
    await page.keyboard.press('Enter');
    await page.locator('.chat', { hasText: '<img' }).waitFor();
    const saved = page.waitForEvent('download');
    await page.locator('#export').click();
    const file = join(WORK, 'chats.json');
    await (await saved).saveAs(file);
    const chats = JSON.parse(readFileSync(file, 'utf8'));
    assert.equal(chats.chats.length, 1);
    for (const node of Object.values(chats.chats[0].nodes)) node.problem = ATTACK;
    chats.chats[0].extra = ATTACK;
    writeFileSync(file, JSON.stringify(chats));
    await page.locator('#import-file').setInputFiles(file);
    await page.locator('.chat').nth(1).waitFor();
    for (const [bad, words] of [
      ['{', 'not JSON'],
      ['{"format":"x"}', 'holds no chats'],
      ['{"format":"ds4-chats","version":9,"chats":[]}', 'version 9'],
      ['{"format":"ds4-chats","version":1,"chats":[{"id":"<b>","nodes":{}}]}', 'must be'],
      ['{"format":"ds4-chats","version":1,"chats":[{"id":"a","title":"","system":"","created":1,"updated":1,"chosen":{},"nodes":{"b":{"parent":"b","role":"user","text":"","created":1}}}]}', 'hangs on nothing'],
    ]) {
      writeFileSync(file, bad);
      await page.locator('#import-file').setInputFiles(file);
      await page.locator('#banner', { hasText: words }).waitFor();
    }
    await page.reload();
    await page.locator('.chat').nth(1).waitFor();
    assert.equal(await hacked(page), undefined);
    assert.equal(context.pages().length, 1);
    assert.deepEqual(wrong, []);
  },

  async 'chats are deleted'({ page }) {
    await ask(page, 'hello');
    await answered(page);
    await page.locator('#chats .icon-button').click();
    await page.locator('#ask-done').click();
    await page.locator('#empty').waitFor();
    await page.reload();
    await page.locator('#empty').waitFor();
    assert.equal(await page.locator('.chat').count(), 0);
  },

  async 'keys of the keyboard are listed and work'({ page }) {
    await ask(page, 'hello');
    await answered(page);
    await page.keyboard.press('Escape');
    await page.keyboard.press('?');
    await page.locator('#help-dialog').waitFor();
    await shot(page, 'keys');
    await page.keyboard.press('Escape');
    await page.keyboard.press('e');
    await page.getByLabel('Edit the question').waitFor();
    await page.keyboard.press('Escape');
    assert.equal(await page.getByLabel('Edit the question').count(), 0);
    await page.keyboard.press('n');
    await page.locator('#empty').waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.id), 'question');
  },
};

/** Those that need another server, or another kind of screen. */
const others = {
  async 'a key is asked for, tried and kept as long as was said'() {
    const { page, context } = await open(keyed.address);
    await page.locator('#banner', { hasText: 'asks for a key' }).waitFor();
    await page.getByText('Enter a key').click();
    await page.locator('#key').fill('wrong');
    await page.keyboard.press('Enter');
    await page.locator('#banner', { hasText: 'not one of this server' }).waitFor();
    await page.getByText('Enter a key').click();
    await page.locator('#key').fill('sesame');
    await shot(page, 'settings');
    await page.locator('#settings-dialog').getByText('Done').click();
    await page.getByText('8,192 tokens').waitFor();
    await ask(page, 'hello');
    await page.getByText('A short answer.').waitFor();
    const kept = () => page.evaluate(() => [localStorage.getItem('ds4.key'), sessionStorage.getItem('ds4.key')]);
    assert.deepEqual(await kept(), [null, 'sesame'], 'until the tab is closed');
    await page.locator('#settings').click();
    await page.locator('#keep-key').check();
    await page.locator('#settings-dialog').getByText('Done').click();
    await page.waitForFunction(() => localStorage.getItem('ds4.key') === 'sesame');
    assert.deepEqual(await kept(), ['sesame', null]);
    await context.close();
  },

  async 'a conversation that is too long says what to do'() {
    const { page, context } = await open(keyed.address);
    await page.evaluate(() => localStorage.setItem('ds4.key', 'sesame'));
    await page.reload();
    await page.getByText('8,192 tokens').waitFor();
    await page.locator('#question').fill('much text '.repeat(9000));
    await page.keyboard.press('Enter');
    await page.locator('.problem', { hasText: 'maximum context length is 8192 tokens' }).waitFor();
    assert.match(await page.locator('.problem').textContent(), /begin a new chat/);
    await context.close();
  },

  async 'reading a long prompt shows how far it is'() {
    const { page, context } = await open(server.address);
    await page.locator('#question').fill('much text '.repeat(4000));
    await page.keyboard.press('Enter');
    await page.locator('.prefill progress').waitFor();
    await shot(page, 'prefill');
    assert.match(await page.locator('.prefill').textContent(), /^Reading [\d,]+ of [\d,]+ tokens$/);
    await page.keyboard.press('Escape');
    await page.getByText('Stopped.').waitFor();
    await context.close();
  },

  async 'a phone has room for all of it'() {
    const phone = { viewport: { width: 390, height: 780 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };
    const { page, context, wrong } = await open(server.address, { ...phone, colorScheme: 'dark' });
    await page.getByText('scripted-1').waitFor();
    await shot(page, 'phone-empty');
    await page.locator('#question').fill('How does a hash table grow?');
    await page.locator('#send').tap();
    await answered(page);
    await page.locator('#thread').evaluate((thread) => thread.scrollTo(0, 0));
    await shot(page, 'phone-answer');
    const widths = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.equal(widths[0], widths[1], 'nothing is wider than the screen');
    await page.locator('#menu').tap();
    await page.waitForTimeout(400);
    await shot(page, 'phone-chats');
    await page.locator('.chat').first().tap();
    assert.deepEqual(wrong, []);
    await context.close();
  },

  async 'a server that is gone is said to be'() {
    const gone = await serve({ script, work: WORK, context: 4096 });
    const { page, context } = await open(gone.address);
    await page.getByText('4,096 tokens').waitFor();
    await gone.stop();
    await ask(page, 'hello');
    await page.locator('.problem', { hasText: 'cannot be reached' }).waitFor();
    await context.close();
  },
};

let failed = 0;
async function run(name, test) {
  const from = Date.now();
  try {
    await test();
    console.log(`ok      ${name} (${((Date.now() - from) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}\n${error.stack}`);
  }
}
const chosen = ([name]) => !process.argv[2] || name.includes(process.argv[2]);
for (const [name, test] of Object.entries(tests).filter(chosen)) {
  await run(name, async () => {
    const opened = await open(server.address);
    try {
      await test(opened);
    } catch (error) {
      await shot(opened.page, 'failed');
      if (opened.wrong.length) error.stack += `\nin the page: ${opened.wrong.join('\n')}`;
      throw error;
    } finally {
      await opened.context.close();
    }
  });
}
for (const [name, test] of Object.entries(others).filter(chosen)) await run(name, test);
await browser.close();
await Promise.all([server.stop(), keyed.stop()]);
console.log(failed ? `${failed} failed` : 'all passed');
process.exit(failed ? 1 : 0);
