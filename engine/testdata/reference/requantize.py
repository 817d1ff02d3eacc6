"""Writes the Q8_0 model that is tested and measured from the F32 twin of the default model.

    requantize.py models/smollm2-135m-instruct-f32.gguf OUT.gguf

Matrices become Q8_0 by PyPI's `gguf` package; norms stay F32.
"""
import os
import sys

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, quants

from dequantize import copy_metadata, rows


def requantize(source, target):
    reader = GGUFReader(source)
    writer = GGUFWriter(target + ".part", reader.fields["general.architecture"].contents())
    copy_metadata(reader, writer)
    for tensor in reader.tensors:
        weights = rows(tensor)
        if weights.ndim == 1:
            writer.add_tensor(tensor.name, weights)
            continue
        data = quants.quantize(np.ascontiguousarray(weights), GGMLQuantizationType.Q8_0)
        writer.add_tensor(tensor.name, data, raw_dtype=GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(target + ".part", target)


if __name__ == "__main__":
    requantize(*sys.argv[1:])
