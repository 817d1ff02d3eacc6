#!/usr/bin/env python3
"""Writes the F32 twin of a quantized GGUF file.

    dequantize.py models/smollm2-135m-instruct-q4_1.gguf models/smollm2-135m-instruct-f32.gguf

Every tensor becomes F32 by the formulas of PyPI's `gguf` package; metadata, names
and the order of tensors stay. The twin holds exactly the weights that the
quantized file stands for, so what differs between the two in use is arithmetic
alone. The same input gives the same bytes. Needs `pip install gguf numpy`.
"""
import hashlib
import os
import sys

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter, quants

ALL_F32 = 0  # the value of general.file_type
DERIVED = {"GGUF.version", "GGUF.tensor_count", "GGUF.kv_count", "general.architecture"}


def copy_metadata(reader, writer):
    for name, field in reader.fields.items():
        if name in DERIVED:
            continue  # the writer makes these itself
        value = ALL_F32 if name == "general.file_type" else field.contents()
        kind = field.types[0]
        of = field.types[-1] if kind == GGUFValueType.ARRAY else None
        writer.add_key_value(name, value, kind, sub_type=of)


def rows(tensor):
    """The weights as F32, in numpy's order of axes."""
    shape = tuple(int(n) for n in reversed(tensor.shape))
    return quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(shape)


def dequantize(source, target):
    reader = GGUFReader(source)
    partial = target + ".part"
    writer = GGUFWriter(partial, reader.fields["general.architecture"].contents())
    copy_metadata(reader, writer)
    for tensor in reader.tensors:
        shape = tuple(int(n) for n in reversed(tensor.shape))
        writer.add_tensor_info(tensor.name, shape, np.dtype(np.float32), int(np.prod(shape)) * 4)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in reader.tensors:
        writer.write_tensor_data(rows(tensor))
    writer.close()
    os.replace(partial, target)  # nobody sees half a file


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    dequantize(sys.argv[1], sys.argv[2])
    print(sha256(sys.argv[2]), sys.argv[2])
