"""Lets a pod's model call a tool, through OpenAI's and Anthropic's Python SDKs, and
prints what came, as JSON.

    tools.py http://127.0.0.1:8000
"""
import json
import sys

import anthropic
import openai

url = sys.argv[1]
oai = openai.OpenAI(base_url=url + "/v1", api_key="unused", max_retries=0)
anth = anthropic.Anthropic(base_url=url, api_key="unused", max_retries=0)
ASK = [{"role": "user", "content": "What is the weather in Rome?"}]
SCHEMA = {"type": "object", "properties": {"town": {"type": "string", "maxLength": 30}, "unit": {"enum": ["celsius", "kelvin"]}},
          "required": ["town", "unit"], "additionalProperties": False}
OAI_TOOLS = [{"type": "function", "function": {"name": "weather", "description": "Tells the weather of a town.", "parameters": SCHEMA}},
             {"type": "function", "function": {"name": "now", "description": "Tells the time."}}]
ANTH_TOOLS = [{"name": "weather", "description": "Tells the weather of a town.", "input_schema": SCHEMA},
              {"name": "now", "description": "Tells the time.", "input_schema": {"type": "object", "properties": {}}}]
NAMED = {"type": "function", "function": {"name": "weather"}}


def chat(**more):
    return oai.chat.completions.create(**({"model": "default", "temperature": 0, "max_tokens": 120, "messages": ASK, "tools": OAI_TOOLS,
                                           "parallel_tool_calls": False} | more))


def of_message(message, finish):
    calls = [{"id": c.id, "name": c.function.name, "arguments": json.loads(c.function.arguments)} for c in message.tool_calls or []]
    return {"text": message.content or "", "finish": finish, "calls": calls}


def whole(r):
    return of_message(r.choices[0].message, r.choices[0].finish_reason)


def streamed():
    """The SDK's own accumulation of a stream's deltas."""
    with oai.chat.completions.stream(model="default", temperature=0, max_tokens=120, messages=ASK, tools=OAI_TOOLS,
                                     parallel_tool_calls=False, tool_choice=NAMED) as stream:
        fragments = sum(e.type == "tool_calls.function.arguments.delta" for e in stream)
        choice = stream.get_final_completion().choices[0]
    return of_message(choice.message, choice.finish_reason) | {"fragments": fragments}


def turn():
    first = oai_named.choices[0].message
    result = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "It is sunny in Rome, 25 degrees."}
    return whole(chat(messages=[*ASK, first, result], tool_choice="none", max_tokens=30))


def message(**more):
    return anth.messages.create(**({"model": "default", "max_tokens": 120, "messages": ASK, "extra_body": {"temperature": 0}} | more))


def of_blocks(m):
    return {"text": "".join(b.text for b in m.content if b.type == "text"), "finish": m.stop_reason,
            "calls": [{"id": b.id, "name": b.name, "arguments": b.input} for b in m.content if b.type == "tool_use"]}


def message_stream(**more):
    fragments = 0
    with anth.messages.stream(**({"model": "default", "max_tokens": 120, "messages": ASK, "extra_body": {"temperature": 0}} | more)) as stream:
        for e in stream:
            fragments += e.type in ("input_json", "text")
        return of_blocks(stream.get_final_message()) | {"fragments": fragments}


def anth_turn():
    first = anth_first
    call = [b for b in first.content if b.type == "tool_use"][0]
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "It is sunny in Rome, 25 degrees."}]}
    return of_blocks(message(tools=ANTH_TOOLS, messages=[*ASK, {"role": "assistant", "content": first.content}, result],
                             tool_choice={"type": "none"}, max_tokens=30))


def error(call):
    try:
        call()
    except (openai.APIStatusError, anthropic.APIStatusError) as e:
        return {"class": type(e).__name__, "status": e.status_code, "message": str(e), "requestID": e.request_id or ""}
    return {"class": "none"}


anth_named = {"tools": ANTH_TOOLS, "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True}}
anth_any = {"tools": ANTH_TOOLS, "tool_choice": {"type": "any", "disable_parallel_tool_use": True}}
oai_named, anth_first = chat(tool_choice=NAMED), message(**anth_named)
bad_schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "x"}}}
print(json.dumps({
    "openai": {
        "version": openai.__version__,
        "named": whole(oai_named),
        "streamed": streamed(),
        "required": whole(chat(tool_choice="required")),
        "auto": whole(chat(tool_choice="auto", max_tokens=12)),
        "turn": turn(),
        "error": error(lambda: chat(tools=[{"type": "function", "function": {"name": "f", "parameters": bad_schema}}])),
    },
    "anthropic": {
        "version": anthropic.__version__,
        "named": of_blocks(anth_first),
        "streamed": message_stream(**anth_named),
        "required": of_blocks(message(**anth_any)),
        "auto": of_blocks(message(tools=ANTH_TOOLS, max_tokens=12)),
        "turn": anth_turn(),
        "error": error(lambda: message(tools=[{"name": "f", "input_schema": bad_schema}])),
        "text": of_blocks(message(system="Be brief.", max_tokens=8)),
        "textStreamed": message_stream(system=[{"type": "text", "text": "Be brief."}], max_tokens=8),
        "stopped": of_blocks(message(messages=[{"role": "user", "content": "Count from 1 to 9."}], stop_sequences=["5"])),
        "tokens": anth.messages.count_tokens(model="default", messages=ASK, tools=ANTH_TOOLS).input_tokens,
        "tokensWithout": anth.messages.count_tokens(model="default", messages=ASK).input_tokens,
    },
}))
