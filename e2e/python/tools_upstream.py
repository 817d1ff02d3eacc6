"""Lets the model of a server behind a pod call a tool, through OpenAI's and Anthropic's
Python SDKs, asks the server itself for the same, and prints what came, as JSON.

    tools_upstream.py POD SERVER
"""
import json
import sys

import anthropic
import openai

pod, server = sys.argv[1:]
anth = anthropic.Anthropic(base_url=pod, api_key="unused", max_retries=0)
oai, direct = (openai.OpenAI(base_url=url + "/v1", api_key="unused", max_retries=0) for url in (pod, server))
SCHEMA = {"type": "object", "properties": {"town": {"type": "string", "maxLength": 30}, "unit": {"enum": ["celsius", "kelvin"]}},
          "required": ["town", "unit"], "additionalProperties": False}
TOOLS = [("weather", "Tells the weather of a town.", SCHEMA), ("now", "Tells the time.", {"type": "object", "properties": {}})]
OAI_TOOLS = [{"type": "function", "function": {"name": n, "description": d, "parameters": s}} for n, d, s in TOOLS]
ANTH_TOOLS = [{"name": n, "description": d, "input_schema": s} for n, d, s in TOOLS]
EARLIER = ("Paris", "Oslo")  # the model sees two calls, and then makes one
ASK = [{"role": "user", "content": "What is the weather in Rome?"}]


def oai_turns(town):
    call = {"id": "call_" + town, "type": "function", "function": {"name": "weather", "arguments": json.dumps({"town": town, "unit": "celsius"})}}
    return [{"role": "user", "content": f"What is the weather in {town}?"}, {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call["id"], "content": "20 degrees, sunny"}, {"role": "assistant", "content": f"It is sunny in {town}."}]


def anth_turns(town):
    call = {"type": "tool_use", "id": "call_" + town, "name": "weather", "input": {"town": town, "unit": "celsius"}}
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "20 degrees, sunny"}
    return [{"role": "user", "content": f"What is the weather in {town}?"}, {"role": "assistant", "content": [call]},
            {"role": "user", "content": [result]}, {"role": "assistant", "content": f"It is sunny in {town}."}]


OAI_CHAT = [turn for town in EARLIER for turn in oai_turns(town)] + ASK
ANTH_CHAT = [turn for town in EARLIER for turn in anth_turns(town)] + ASK


def asked(**more):
    return {"model": "default", "temperature": 0, "max_tokens": 120, "messages": OAI_CHAT, "tools": OAI_TOOLS, "parallel_tool_calls": False} | more


def completion(c, fragments=0):
    message = c.choices[0].message
    calls = [{"id": t.id, "name": t.function.name, "arguments": json.loads(t.function.arguments)} for t in message.tool_calls or []]
    return {"text": message.content or "", "finish": c.choices[0].finish_reason, "calls": calls, "fragments": fragments,
            "prompt": c.usage.prompt_tokens, "completion": c.usage.completion_tokens}


def chat(client=oai, **more):
    return completion(client.chat.completions.create(**asked(**more)))


def chat_stream(**more):
    with oai.chat.completions.stream(**asked(**more), stream_options={"include_usage": True}) as stream:
        fragments = sum(e.type == "tool_calls.function.arguments.delta" for e in stream)
        return completion(stream.get_final_completion(), fragments)


def message(m, fragments=0):
    calls = [{"id": b.id, "name": b.name, "arguments": b.input} for b in m.content if b.type == "tool_use"]
    cached = m.usage.cache_read_input_tokens or 0
    return {"text": "".join(b.text for b in m.content if b.type == "text"), "finish": m.stop_reason, "calls": calls, "fragments": fragments,
            "prompt": m.usage.input_tokens + cached, "completion": m.usage.output_tokens}


def said(**more):
    return {"model": "default", "max_tokens": 120, "messages": ANTH_CHAT, "tools": ANTH_TOOLS, "extra_body": {"temperature": 0}} | more


def messages(**more):
    return message(anth.messages.create(**said(**more)))


def messages_stream(**more):
    with anth.messages.stream(**said(**more)) as stream:
        fragments = sum(e.type == "input_json" for e in stream)
        return message(stream.get_final_message(), fragments)


oai_named = {"tool_choice": {"type": "function", "function": {"name": "weather"}}}
anth_named = {"tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True}}
anth_any = {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}}
print(json.dumps({
    "direct": {
        "named": chat(direct, tools=OAI_TOOLS[:1], tool_choice="required"),
        "required": chat(direct, tool_choice="required"),
    },
    "openai": {
        "named": chat(**oai_named), "namedStreamed": chat_stream(**oai_named),
        "required": chat(tool_choice="required"), "requiredStreamed": chat_stream(tool_choice="required"),
        "unheeded": chat(tool_choice="required", messages=ASK, max_tokens=8),
    },
    "anthropic": {
        "named": messages(**anth_named), "namedStreamed": messages_stream(**anth_named),
        "required": messages(**anth_any), "requiredStreamed": messages_stream(**anth_any),
        "unheeded": messages(**anth_any, messages=ASK, max_tokens=8),
    },
}))
