// Talks to a pod through OpenAI's Node SDK and prints what came, as JSON.
//
//     node openai_sdk.mjs http://127.0.0.1:8000/v1
import OpenAI from 'openai';
import { readFileSync } from 'node:fs';

const client = new OpenAI({ baseURL: process.argv[2], apiKey: 'unused', maxRetries: 0 });
const ITALY = [{ role: 'user', content: 'Name the capital of Italy.' }];
const COUNTING = '1, 2, 3, 4, 5, 6, 7, 8,';

const usage = (u) =>
  u ? { prompt_tokens: u.prompt_tokens, completion_tokens: u.completion_tokens, total_tokens: u.total_tokens } : null;

function whole(r) {
  const { message, text, finish_reason: finish } = r.choices[0];
  return {
    text: message?.content ?? text, role: message?.role ?? '', finish, object: r.object, model: r.model,
    usage: usage(r.usage), requestID: r._request_id ?? '',
  };
}

async function streamed(chunks) {
  const got = { text: '', role: '', finish: '', chunks: 0, usage: null };
  for await (const chunk of chunks) {
    got.model = chunk.model;
    got.object = chunk.object;
    got.usage = usage(chunk.usage) ?? got.usage;
    for (const choice of chunk.choices) {
      const text = choice.delta?.content ?? choice.text ?? '';
      got.role = choice.delta?.role ?? got.role;
      got.text += text;
      got.chunks += text ? 1 : 0;
      got.finish = choice.finish_reason ?? got.finish;
    }
  }
  return got;
}

const chat = (more) =>
  client.chat.completions.create({ model: 'default', temperature: 0, max_tokens: 60, messages: ITALY, ...more });
const complete = (more) =>
  client.completions.create({ model: 'default', temperature: 0, max_tokens: 16, prompt: COUNTING, ...more });

async function error(call) {
  try {
    await call();
  } catch (e) {
    if (!(e instanceof OpenAI.APIError)) throw e;
    return {
      class: e.constructor.name, status: e.status, code: e.code ?? '', param: e.param ?? '',
      message: e.message, requestID: e.requestID ?? '',
    };
  }
  return { class: 'none' };
}

async function abandoned() {
  let seen = 0;
  for await (const _ of await complete({ stream: true, max_tokens: 4000 })) {
    if (++seen === 3) break; // leaving the loop ends the request
  }
  return seen;
}

// turns is a chat whose second turn cannot be answered without the first.
async function turns() {
  const first = (await chat()).choices[0].message;
  return [...ITALY, first, { role: 'user', content: 'Please say that again.' }];
}

async function models() {
  const ids = [];
  for await (const m of client.models.list()) ids.push(m.id);
  return ids;
}

async function seeds(...all) {
  const texts = [];
  for (const seed of all) texts.push((await complete({ temperature: 1.5, seed })).choices[0].text);
  return texts;
}

const sdk = new URL('./node_modules/openai/package.json', import.meta.url);
const withUsage = { stream: true, stream_options: { include_usage: true } };
console.log(JSON.stringify({
  sdk: 'openai-node',
  version: JSON.parse(readFileSync(sdk)).version,
  models: await models(),
  chat: whole(await chat()),
  chatStream: await streamed(await chat(withUsage)),
  completion: whole(await complete()),
  completionStream: await streamed(await complete(withUsage)),
  system: whole(await chat({ messages: [{ role: 'system', content: 'You are a pirate.' }, ...ITALY] })),
  turns: whole(await chat({ messages: await turns() })),
  length: whole(await chat({ max_tokens: 5 })),
  newLength: whole(await chat({ max_tokens: undefined, max_completion_tokens: 5 })),
  stop: whole(await complete({ stop: ['12'] })),
  seeds: await seeds(7, 7, 8),
  withoutUsage: await streamed(await chat({ stream: true })),
  abandoned: await abandoned(),
  errors: {
    model: await error(() => chat({ model: 'gpt-5' })),
    temperature: await error(() => chat({ temperature: 9 })),
    max_tokens: await error(() => chat({ max_tokens: -1 })),
    messages: await error(() => chat({ messages: [] })),
    unsupported: await error(() => chat({ store: true })),
    streamed: await error(() => chat({ model: 'gpt-5', stream: true })),
  },
}));
