// Lets a pod's model call a tool, through OpenAI's and Anthropic's Node SDKs, and prints
// what came, as JSON.
//
//     node tools.mjs http://127.0.0.1:8000
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { readFileSync } from 'node:fs';

const url = process.argv[2];
const oai = new OpenAI({ baseURL: url + '/v1', apiKey: 'unused', maxRetries: 0 });
const anth = new Anthropic({ baseURL: url, apiKey: 'unused', maxRetries: 0 });
const ASK = [{ role: 'user', content: 'What is the weather in Rome?' }];
const schema = {
  type: 'object', properties: { town: { type: 'string', maxLength: 30 }, unit: { enum: ['celsius', 'kelvin'] } },
  required: ['town', 'unit'], additionalProperties: false,
};
const badSchema = { type: 'object', properties: { a: { type: 'string', pattern: 'x' } } };
const oaiTools = [
  { type: 'function', function: { name: 'weather', description: 'Tells the weather of a town.', parameters: schema } },
  { type: 'function', function: { name: 'now', description: 'Tells the time.' } },
];
const anthTools = [
  { name: 'weather', description: 'Tells the weather of a town.', input_schema: schema },
  { name: 'now', description: 'Tells the time.', input_schema: { type: 'object', properties: {} } },
];
const named = { tool_choice: { type: 'function', function: { name: 'weather' } } };
const anthNamed = { tools: anthTools, tool_choice: { type: 'tool', name: 'weather', disable_parallel_tool_use: true } };
const result = 'It is sunny in Rome, 25 degrees.';

const body = (more) => ({
  model: 'default', temperature: 0, max_tokens: 120, messages: ASK, tools: oaiTools, parallel_tool_calls: false, ...more,
});
const chat = (more) => oai.chat.completions.create(body(more));
const ofMessage = ({ message, finish_reason: finish }) => ({
  text: message.content ?? '', finish,
  calls: (message.tool_calls ?? []).map((c) => ({ id: c.id, name: c.function.name, arguments: JSON.parse(c.function.arguments) })),
});

async function streamed() {
  const stream = oai.chat.completions.stream(body(named));
  let fragments = 0;
  stream.on('tool_calls.function.arguments.delta', () => fragments++);
  return { ...ofMessage((await stream.finalChatCompletion()).choices[0]), fragments };
}

async function turn() {
  const first = oaiFirst.choices[0].message;
  const answer = { role: 'tool', tool_call_id: first.tool_calls[0].id, content: result };
  return ofMessage((await chat({ messages: [...ASK, first, answer], tool_choice: 'none', max_tokens: 30 })).choices[0]);
}

const messageBody = (more) => ({ model: 'default', temperature: 0, max_tokens: 120, messages: ASK, ...more });
const message = (more) => anth.messages.create(messageBody(more));
const ofBlocks = (m) => ({
  text: m.content.map((b) => b.text ?? '').join(''), finish: m.stop_reason,
  calls: m.content.filter((b) => b.type === 'tool_use').map((b) => ({ id: b.id, name: b.name, arguments: b.input })),
});

async function messageStream(more) {
  const stream = anth.messages.stream(messageBody(more));
  let fragments = 0;
  stream.on('inputJson', () => fragments++);
  stream.on('text', () => fragments++);
  return { ...ofBlocks(await stream.finalMessage()), fragments };
}

async function anthTurn() {
  const first = anthFirst;
  const call = first.content.find((b) => b.type === 'tool_use');
  const answer = { role: 'user', content: [{ type: 'tool_result', tool_use_id: call.id, content: result }] };
  return ofBlocks(await message({
    tools: anthTools, tool_choice: { type: 'none' }, max_tokens: 30,
    messages: [...ASK, { role: 'assistant', content: first.content }, answer],
  }));
}

async function error(call) {
  try {
    await call();
  } catch (e) {
    if (!(e instanceof OpenAI.APIError || e instanceof Anthropic.APIError)) throw e;
    return { class: e.constructor.name, status: e.status, message: e.message, requestID: e.requestID ?? '' };
  }
  return { class: 'none' };
}

const version = (name) => JSON.parse(readFileSync(new URL(`./node_modules/${name}/package.json`, import.meta.url))).version;
const [oaiFirst, anthFirst] = [await chat(named), await message(anthNamed)];
const one = async (more) => ofMessage((await chat(more)).choices[0]);
console.log(JSON.stringify({
  openai: {
    version: version('openai'),
    named: ofMessage(oaiFirst.choices[0]),
    streamed: await streamed(),
    required: await one({ tool_choice: 'required' }),
    auto: await one({ tool_choice: 'auto', max_tokens: 12 }),
    turn: await turn(),
    error: await error(() => chat({ tools: [{ type: 'function', function: { name: 'f', parameters: badSchema } }] })),
  },
  anthropic: {
    version: version('@anthropic-ai/sdk'),
    named: ofBlocks(anthFirst),
    streamed: await messageStream(anthNamed),
    required: ofBlocks(await message({ tools: anthTools, tool_choice: { type: 'any', disable_parallel_tool_use: true } })),
    auto: ofBlocks(await message({ tools: anthTools, max_tokens: 12 })),
    turn: await anthTurn(),
    error: await error(() => message({ tools: [{ name: 'f', input_schema: badSchema }] })),
    text: ofBlocks(await message({ system: 'Be brief.', max_tokens: 8 })),
    textStreamed: await messageStream({ system: [{ type: 'text', text: 'Be brief.' }], max_tokens: 8 }),
    stopped: ofBlocks(await message({ messages: [{ role: 'user', content: 'Count from 1 to 9.' }], stop_sequences: ['5'] })),
    tokens: (await anth.messages.countTokens({ model: 'default', messages: ASK, tools: anthTools })).input_tokens,
    tokensWithout: (await anth.messages.countTokens({ model: 'default', messages: ASK })).input_tokens,
  },
}));
