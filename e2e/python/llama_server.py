"""Runs llama.cpp's HTTP server until it is ended: llama_server.py MODEL PORT [TEMPLATE]."""

import pathlib
import signal
import sys

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.hostnames = ["127.0.0.1"]
params.port = int(sys.argv[2])
params.endpoint_metrics = True
params.n_ctx = 4096
params.n_parallel = 4
params.cpuparams.n_threads = 1
if len(sys.argv) > 3:  # for a model whose own template knows no tools
    params.chat_template = pathlib.Path(sys.argv[3]).read_text()
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
signal.pause()
