#!/usr/bin/env python3
"""Writes blocks.json: for every tensor type two random blocks as they are in a file, and the
floats that the gguf package (pip install gguf==0.19.0) unpacks them to. Floats are in hex."""
import json
import os

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize

HALVES = {T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q8_0: [0], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208]}

random = np.random.default_rng(7)
out = []
for t, halves in HALVES.items():
    elems, size = GGML_QUANT_SIZES[t]
    data = random.integers(0, 256, (2, size), dtype=np.uint8)
    for at in halves:
        data[:, at:at + 2] = random.normal(size=(2, 1)).astype(np.float16).view(np.uint8)
    floats = dequantize(data, t).astype(np.float32).reshape(-1)
    out.append({"type": t.name, "data": data.tobytes().hex(), "floats": floats.astype("<f4").tobytes().hex()})

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "blocks.json"), "w") as f:
    f.write("[\n" + ",\n".join(map(json.dumps, out)) + "\n]\n")
