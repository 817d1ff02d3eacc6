"""Talks to a pod through OpenAI's Python SDK and prints what came, as JSON.

    openai_sdk.py http://127.0.0.1:8000/v1
"""
import json
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="unused", max_retries=0)
ITALY = [{"role": "user", "content": "Name the capital of Italy."}]
COUNTING = "1, 2, 3, 4, 5, 6, 7, 8,"


def usage(u):
    return None if u is None else u.model_dump(include={"prompt_tokens", "completion_tokens", "total_tokens"})


def whole(r):
    choice = r.choices[0]
    message = getattr(choice, "message", None)
    return {
        "text": message.content if message else choice.text,
        "role": message.role if message else "",
        "finish": choice.finish_reason, "object": r.object, "model": r.model,
        "usage": usage(r.usage), "requestID": r._request_id or "",
    }


def streamed(chunks):
    got = {"text": "", "role": "", "finish": "", "chunks": 0, "usage": None}
    for chunk in chunks:
        got["model"], got["object"] = chunk.model, chunk.object
        if chunk.usage:
            got["usage"] = usage(chunk.usage)
        for choice in chunk.choices:
            delta = getattr(choice, "delta", None)
            text = (delta.content if delta else choice.text) or ""
            if delta and delta.role:
                got["role"] = delta.role
            got["text"] += text
            got["chunks"] += bool(text)
            got["finish"] = choice.finish_reason or got["finish"]
    return got


def chat(**more):
    return client.chat.completions.create(**({"model": "default", "temperature": 0, "max_tokens": 60, "messages": ITALY} | more))


def complete(**more):
    return client.completions.create(**({"model": "default", "temperature": 0, "max_tokens": 16, "prompt": COUNTING} | more))


def error(call):
    try:
        call()
    except openai.APIStatusError as e:
        return {"class": type(e).__name__, "status": e.status_code, "code": e.code or "", "param": e.param or "",
                "message": e.message, "requestID": e.request_id or ""}
    return {"class": "none"}


def abandoned():
    seen = 0
    with complete(stream=True, max_tokens=4000) as stream:
        for _ in stream:
            seen += 1
            if seen == 3:
                break
    return seen


def turns():
    """A chat whose second turn cannot be answered without the first."""
    return [*ITALY, chat().choices[0].message, {"role": "user", "content": "Please say that again."}]


with_usage = {"stream": True, "stream_options": {"include_usage": True}}
print(json.dumps({
    "sdk": "openai-python",
    "version": openai.__version__,
    "models": [m.id for m in client.models.list()],
    "chat": whole(chat()),
    "chatStream": streamed(chat(**with_usage)),
    "completion": whole(complete()),
    "completionStream": streamed(complete(**with_usage)),
    "system": whole(chat(messages=[{"role": "system", "content": "You are a pirate."}, *ITALY])),
    "turns": whole(chat(messages=turns())),
    "length": whole(chat(max_tokens=5)),
    "newLength": whole(chat(max_tokens=openai.omit, max_completion_tokens=5)),
    "stop": whole(complete(stop=["12"])),
    "seeds": [complete(temperature=1.5, seed=s).choices[0].text for s in (7, 7, 8)],
    "withoutUsage": streamed(chat(stream=True)),
    "abandoned": abandoned(),
    "errors": {
        "model": error(lambda: chat(model="gpt-5")),
        "temperature": error(lambda: chat(temperature=9)),
        "max_tokens": error(lambda: chat(max_tokens=-1)),
        "messages": error(lambda: chat(messages=[])),
        "unsupported": error(lambda: chat(store=True)),
        "streamed": error(lambda: chat(model="gpt-5", stream=True)),
    },
}))
