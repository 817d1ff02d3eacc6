#!/usr/bin/env bash
# Proves that training follows from its seed: trains twice, for STEPS (80) steps, and compares
# the two models byte for byte. STEPS=3200 does it for the whole of the training, twice.
set -euo pipefail
cd "$(dirname "$0")"
venv=../../.tools/builtin-model
if ! cmp -s requirements.txt "$venv/requirements.txt"; then
	rm -rf "$venv"
	python3 -m venv "$venv"
	"$venv/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt
	cp requirements.txt "$venv/requirements.txt"
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for run in 1 2; do
	nice -n 19 "$venv/bin/python" train.py --steps "${STEPS:-80}" --out "$scratch/$run.gguf" --exam "$scratch/exam.json" >"$scratch/log" 2>&1 || {
		cat "$scratch/log" >&2
		exit 1
	}
done
cmp exam.json "$scratch/exam.json" || { echo "exam.json is not what corpus.py makes of the facts: train anew" >&2; exit 1; }
cmp "$scratch/1.gguf" "$scratch/2.gguf" || { echo "two trainings from one seed differ" >&2; exit 1; }
sha256sum "$scratch/1.gguf" | sed "s| .*| after ${STEPS:-80} steps, twice|"
