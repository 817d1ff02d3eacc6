"""Asks pods behind a balancer through OpenAI's Python SDK, with its retries off, until
stdin closes; prints a line of JSON for each request that ended.

    drill.py MODEL URL...

Each worker keeps its connections, as a service that uses the SDK does: some ask without
a pause, some rest between two requests for longer than a pod's drain, and one connects
anew for each request. The URLs are shared out among them.
"""
import json
import random
import sys
import threading
import time

import openai

MODEL, URLS = sys.argv[1], sys.argv[2:]
WORKERS = 6
TIMEOUT = 90  # no request may take as long
ends = threading.Event()
printing = threading.Lock()


def parsed(client, headers, tokens, got):
    """A stream as the SDK reads it: it raises on an error event, which may still come behind the last chunk.
    So it is done when a chunk said why it finished and the SDK came to the end."""
    stream = client.completions.create(model=MODEL, prompt="1, 2, 3, 4,", max_tokens=tokens, stream=True, extra_headers=headers)
    got["begun"] = True
    finished = False
    for chunk in stream:
        finished = finished or bool(chunk.choices and chunk.choices[0].finish_reason)
    got["done"] = finished


def raw(client, headers, tokens, got):
    """A stream by its lines: whether the terminal event came is not the SDK's to say."""
    with client.completions.with_streaming_response.create(
        model=MODEL, prompt="1, 2, 3, 4,", max_tokens=tokens, stream=True, extra_headers=headers
    ) as response:
        got["begun"] = True
        for line in response.iter_lines():
            if line == "data: [DONE]":
                got["done"] = True
            elif line.startswith('data: {"error"'):
                got["code"] = json.loads(line[6:])["error"]["code"]


def whole(client, headers, tokens, got):
    client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Say hello."}], max_tokens=tokens, extra_headers=headers
    )
    got["done"] = True


def listing(client, headers, tokens, got):
    client.models.list(extra_headers=headers)
    got["done"] = True


WAYS = [(parsed, 4, 40), (parsed, 4, 40), (raw, 100, 800), (whole, 1, 16), (whole, 1, 16), (listing, 0, 0)]


def ask(client, chance, name):
    way, least, most = chance.choice(WAYS)
    got = {"id": name, "way": way.__name__, "from": time.time(), "begun": False, "done": False, "code": "", "status": 0, "fault": ""}
    try:
        way(client, {"X-Request-ID": name}, chance.randint(least, most), got)
    except openai.APIStatusError as e:
        got["status"], got["code"], got["fault"] = e.status_code, e.code or "", f"{type(e).__name__}: {e}"
    except openai.APIError as e:  # a lost connection, or an error event in a stream
        got["code"], got["fault"] = e.code or "", f"{type(e).__name__}: {e} ({e.__cause__!r})"
    except Exception as e:  # the SDK passes on what its HTTP client raises while a stream is read
        got["fault"] = f"{type(e).__name__}: {e}"
    got["to"] = time.time()
    with printing:
        print(json.dumps(got), flush=True)


def work(n, url, mark):
    chance = random.Random(n)

    def connect():
        return openai.OpenAI(base_url=url + "/v1", api_key="unused", max_retries=0, timeout=TIMEOUT)

    client = connect()
    count = 0
    while not ends.is_set():
        count += 1
        ask(client, chance, f"drill-{mark}-{n}-{count}")
        if n == 0:  # nothing is kept
            client.close()
            client = connect()
        ends.wait(chance.uniform(0, 3) if n == 1 else chance.choice([0.005, chance.uniform(0.01, 0.3)]))


mark = random.SystemRandom().randrange(1 << 32)
workers = [threading.Thread(target=work, args=(n, URLS[n % len(URLS)], mark)) for n in range(WORKERS)]
for w in workers:
    w.start()
sys.stdin.read()
ends.set()
for w in workers:
    w.join()
