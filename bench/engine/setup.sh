#!/usr/bin/env bash
# Sets up what `make bench-engine` needs beyond what the tests do: a Python environment and llama.cpp's
# libraries from npm. What is there is not touched.
set -euo pipefail
cd "$(dirname "$0")/../.."

venv=.tools/bench-engine
if ! cmp -s bench/engine/requirements.txt "$venv/requirements.txt"; then
	rm -rf "$venv"
	python3 -m venv "$venv"
	"$venv/bin/pip" install --quiet --disable-pip-version-check -r bench/engine/requirements.txt
	cp bench/engine/requirements.txt "$venv/requirements.txt"
fi
if [ ! -d "$venv/node_modules/@node-llama-cpp/linux-x64" ]; then
	npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$venv" node-llama-cpp@3.22.1
fi
