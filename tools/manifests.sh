#!/usr/bin/env bash
# Renders what follows from the chart and from the alert rules; with --check, only says
# whether what is there is current.
set -euo pipefail
cd "$(dirname "$0")/.."
chart=deploy/helm/semantic rules=$chart/files/rules.yaml manifest=deploy/kubernetes/semantic.yaml

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
keep() { # FILE TARGET
	cmp -s "$1" "$2" && return
	[ "$check" = no ] || { echo "make manifests-check: $2 is not current; run: make manifests" >&2 && exit 1; }
	install -m 0644 "$1" "$2"
}
check=no
[ "${1:-}" != --check ] || check=yes
env -i PATH="$PATH" bin/semantic rules render --format prometheusrule --external-url http://external.invalid --dashboard-url http://dashboard.invalid >"$out/rules.yaml"
keep "$out/rules.yaml" "$rules"
{
	echo "# Made by \`make manifests\` from $chart with its own values; do not edit."
	.tools/helm template semantic "$chart" --namespace semantic --set createNamespace=true
} >"$out/semantic.yaml"
keep "$out/semantic.yaml" "$manifest"
