"""llama.cpp as the benchmark's peer: loads one model, then times what each line of stdin asks for.

    peer.py --libs DIR --model FILE --threads N

A line is JSON: {"what": "prefill", "tokens": 512} or {"what": "decode", "batch": 8, "length": 128,
"steps": 16}. The answer is one line, {"seconds": ...}: of the whole prefill, or of one step of the
batch (the median). The first line of output says which of llama.cpp's CPU libraries it chose.
"""
import argparse
import ctypes as c
import json
import os
import re
import statistics
import sys
import time

import numpy as np

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "..", "..", "engine", "testdata", "reference"))
import llamacpp  # noqa: E402


class Peer:
    def __init__(self, options):
        self.llama = llamacpp.Llama(options.libs, cpu=None)
        self.lib = self.llama.lib
        self.model = llamacpp.Model(self.llama, options.model)
        self.threads = options.threads
        self.contexts = {}

    def context(self, sequences, tokens):
        """llama.cpp's defaults, with room for the sequences; kept, since making one takes time."""
        if (sequences, tokens) not in self.contexts:
            p = self.lib.llama_context_default_params()
            p.n_ctx, p.n_seq_max = sequences * tokens, sequences
            p.n_batch, p.n_ubatch = 2048, 512
            p.n_threads = p.n_threads_batch = self.threads
            handle = self.lib.llama_init_from_model(self.model.handle, p)
            if not handle:
                sys.exit("cannot make a context")
            self.contexts[sequences, tokens] = handle
        handle = self.contexts[sequences, tokens]
        self.lib.llama_memory_clear(self.lib.llama_get_memory(handle), True)
        return handle

    def decode(self, handle, rows, wanted):
        """Computes rows of (token, position, sequence) and the logits of those that are wanted."""
        token = np.array([r[0] for r in rows], np.int32)
        pos = np.array([r[1] for r in rows], np.int32)
        sequence = np.array([r[2] for r in rows], np.int32)
        count = np.ones(len(rows), np.int32)
        pointers = sequence.ctypes.data + 4 * np.arange(len(rows), dtype=np.uint64)
        logits = np.asarray(wanted, np.int8)
        batch = llamacpp.Batch(len(rows), token.ctypes.data, None, pos.ctypes.data, count.ctypes.data,
                               pointers.ctypes.data, logits.ctypes.data)
        began = time.perf_counter()
        if code := self.lib.llama_decode(handle, batch):
            sys.exit(f"cannot decode {len(rows)} tokens: {code}")
        self.lib.llama_synchronize(handle)
        return time.perf_counter() - began

    def prefill(self, tokens):
        handle = self.context(1, max(tokens, 512))
        return self.decode(handle, [(1000 + i * 37 % 40000, i, 0) for i in range(tokens)], [0] * (tokens - 1) + [1])

    def steps(self, batch, length, steps):
        handle = self.context(batch, length + steps)
        for s in range(batch):
            self.decode(handle, [(1000 + i * 37 % 40000, i, s) for i in range(length)], [0] * (length - 1) + [1])
        return statistics.median(
            self.decode(handle, [(100 + s, length + i, s) for s in range(batch)], [1] * batch) for i in range(steps))


def cpu_library():
    """The name of the CPU library that is mapped into this process."""
    with open("/proc/self/maps") as f:
        return sorted(set(re.findall(r"libggml-cpu-(\w+)\.so", f.read())))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--libs", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, required=True)
    peer = Peer(parser.parse_args())
    print(json.dumps({"cpu": ",".join(cpu_library()), "version": llamacpp.LLAMA_VERSION}), flush=True)
    for line in sys.stdin:
        ask = json.loads(line)
        seconds = peer.prefill(ask["tokens"]) if ask["what"] == "prefill" else peer.steps(ask["batch"], ask["length"], ask["steps"])
        print(json.dumps({"seconds": seconds}), flush=True)
