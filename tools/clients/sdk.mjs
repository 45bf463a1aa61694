// The official JavaScript SDKs against a server: the same rounds as sdk.py.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const ASK = 'What is the weather in Paris and Oslo?';
const RESULTS = { Paris: '18 degrees', 'Oslo "north"\n': '7 degrees' };
const SCHEMA = {
  type: 'object',
  properties: { city: { type: 'string' }, days: { type: 'integer' } },
  required: ['city'],
};
const ARGUMENTS = [{ city: 'Paris' }, { city: 'Oslo "north"\n', days: 3 }];

export async function sdks(url, tools) {
  const load = createRequire(join(tools, 'package.json'));
  const OpenAI = load('openai').default;
  const Anthropic = load('@anthropic-ai/sdk').default;
  const oai = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 });
  const ant = new Anthropic({ baseURL: url, apiKey: 'none', maxRetries: 0 });

  async function idle() {
    for (let tries = 0; (await (await fetch(`${url}/health`)).json()).running; tries += 1) {
      assert.ok(tries < 1200, 'a request goes on although its client has gone');
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Listens to the beginning of a long answer. */
  async function leave(stream, textOf) {
    let text = '';
    for await (const event of stream) {
      text += textOf(event) ?? '';
      if (text.length > 40) break;
    }
    assert.ok(text.startsWith('word0 word1 ') && text.length < 4000, text);
  }

  return {
    async 'JavaScript, chat'() {
      const tool = { type: 'function', function: { name: 'get_weather', parameters: SCHEMA } };
      const messages = [{ role: 'user', content: ASK }];
      const body = { model: 'm', messages, tools: [tool] };
      const stream = oai.chat.completions.stream({ ...body, stream_options: { include_usage: true } });
      const first = await stream.finalChatCompletion();
      const message = first.choices[0].message;
      assert.deepEqual(message.tool_calls.map((call) => JSON.parse(call.function.arguments)), ARGUMENTS);
      messages.push({ role: 'assistant', content: message.content, tool_calls: message.tool_calls });
      for (const call of message.tool_calls) {
        messages.push({ role: 'tool', tool_call_id: call.id, content: RESULTS[JSON.parse(call.function.arguments).city] });
      }
      const second = await oai.chat.completions.create(body);
      assert.equal(second.choices[0].message.content, 'Paris 18, Oslo 7.');
      assert.ok(second.usage.prompt_tokens_details.cached_tokens >= first.usage.prompt_tokens);
      const long = await oai.chat.completions.create({ model: 'm', messages: [{ role: 'user', content: 'A long story' }], stream: true });
      await leave(long, (chunk) => chunk.choices[0]?.delta.content);
      await idle();
    },

    async 'JavaScript, responses'() {
      const tool = { type: 'function', name: 'get_weather', parameters: SCHEMA, strict: false };
      const body = { model: 'm', input: ASK, tools: [tool], reasoning: { summary: 'auto' } };
      const first = await oai.responses.stream(body).finalResponse();
      const calls = first.output.filter((item) => item.type === 'function_call');
      assert.deepEqual(calls.map((call) => JSON.parse(call.arguments)), ARGUMENTS);
      const input = calls.map((call) => ({
        type: 'function_call_output', call_id: call.call_id, output: RESULTS[JSON.parse(call.arguments).city],
      }));
      const second = await oai.responses.create({ ...body, previous_response_id: first.id, input });
      assert.equal(second.output_text, 'Paris 18, Oslo 7.');
      assert.ok(second.usage.input_tokens_details.cached_tokens >= first.usage.input_tokens);
    },

    async 'JavaScript, messages'() {
      const tool = { name: 'get_weather', input_schema: SCHEMA };
      const messages = [{ role: 'user', content: ASK }];
      const body = { model: 'm', max_tokens: 1000, messages, tools: [tool] };
      const first = await ant.messages.stream(body).finalMessage();
      const calls = first.content.filter((block) => block.type === 'tool_use');
      assert.deepEqual(calls.map((call) => call.input), ARGUMENTS);
      messages.push({ role: 'assistant', content: first.content }, {
        role: 'user',
        content: calls.map((call) => ({ type: 'tool_result', tool_use_id: call.id, content: RESULTS[call.input.city] })),
      });
      const second = await ant.messages.create(body);
      assert.equal(second.content.at(-1).text, 'Paris 18, Oslo 7.');
      const before = first.usage.input_tokens + first.usage.cache_read_input_tokens;
      assert.ok(second.usage.cache_read_input_tokens >= before);
      const long = ant.messages.stream({ ...body, max_tokens: 9000, messages: [{ role: 'user', content: 'A long story' }] });
      await leave(long, (event) => event.delta?.text);
      await idle();
      await assert.rejects(
        ant.messages.create({ ...body, messages: [{ role: 'user', content: 'too much '.repeat(30_000) }] }),
        (error) => error.status === 400 && /prompt is too long: /.test(error.message),
      );
    },
  };
}
