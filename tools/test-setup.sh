#!/usr/bin/env bash
# Sets up what the tests need beside Go: Debian packages, a Python environment, npm
# packages and the F32 twin of the default model. What is there is not touched.
set -euo pipefail
cd "$(dirname "$0")/.."

# Debian packages: the command that proves each, and its package.
need=(haproxy:haproxy promtool:prometheus prometheus-alertmanager:prometheus-alertmanager amtool:prometheus-alertmanager node:nodejs npm:npm python3:python3 curl:curl ps:procps openssl:openssl logrotate:logrotate zstd:zstd redis-server:redis-server chromium:chromium podman:podman buildah:buildah docker:docker.io dockerd:docker.io runc:runc conmon:conmon iptables:iptables /usr/lib/podman/netavark:netavark catatonit:catatonit systemd-analyze:systemd)
missing=()
for pair in "${need[@]}"; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		echo "make test-setup: installing ${missing[*]}"
		apt-get update -qq
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
	else
		echo "make test-setup: install these first (Debian's names): ${missing[*]}" >&2
		exit 1
	fi
fi

# Python: the vendors' SDKs, and the gguf package that writes the F32 twin.
venv=.tools/venv
if ! cmp -s e2e/python/requirements.txt "$venv/requirements.txt"; then
	echo "make test-setup: installing Python packages"
	rm -rf "$venv"
	python3 -m venv "$venv"
	"$venv/bin/pip" install --quiet --disable-pip-version-check -r e2e/python/requirements.txt
	cp e2e/python/requirements.txt "$venv/requirements.txt"
fi

# Node: the vendors' SDKs.
if ! cmp -s e2e/node/package-lock.json e2e/node/node_modules/.installed; then
	echo "make test-setup: installing npm packages"
	(cd e2e/node && npm ci --silent --no-audit --no-fund --ignore-scripts)
	cp e2e/node/package-lock.json e2e/node/node_modules/.installed
fi

# The judges of the release: a Python environment and npm packages of their own.
judges=tools/compliance/judges
venv=.tools/judges
if ! cmp -s "$judges/requirements.txt" "$venv/requirements.txt"; then
	echo "make test-setup: installing the judges of the release"
	rm -rf "$venv"
	python3 -m venv "$venv"
	"$venv/bin/pip" install --quiet --disable-pip-version-check -r "$judges/requirements.txt"
	cp "$judges/requirements.txt" "$venv/requirements.txt"
fi
if ! cmp -s "$judges/package-lock.json" "$judges/node_modules/.installed"; then
	(cd "$judges" && npm ci --silent --no-audit --no-fund --ignore-scripts)
	cp "$judges/package-lock.json" "$judges/node_modules/.installed"
fi

# What reads the chart: checkov in a Python environment of its own, and helm, which is
# compiled: both take minutes, once.
manifests=tools/manifests
venv=.tools/checkov
if ! cmp -s "$manifests/requirements.txt" "$venv/requirements.txt"; then
	echo "make test-setup: installing checkov"
	rm -rf "$venv"
	python3 -m venv "$venv"
	"$venv/bin/pip" install --quiet --disable-pip-version-check -r "$manifests/requirements.txt"
	cp "$manifests/requirements.txt" "$venv/requirements.txt"
fi
if ! cmp -s "$manifests/go.sum" .tools/helm.made-of; then
	echo "make test-setup: building helm"
	(cd "$manifests" && go build -trimpath -ldflags '-s -w' -o ../../.tools/helm helm.sh/helm/v4/cmd/helm)
	cp "$manifests/go.sum" .tools/helm.made-of
fi

# The OpenTelemetry Collector that the trace tests send to, from its own builder. It
# is made again only when what it is made of changes: that takes minutes. The builder's
# own "go mod tidy" asks for modules that only tests of others need, and fails where a
# module proxy lacks one; what it wrote until then is enough to compile.
collector=.tools/otelcol
if ! cat tools/otelcol/builder.yaml tools/otelcol/go.sum | cmp -s - "$collector.made-of"; then
	echo "make test-setup: building the OpenTelemetry Collector"
	rm -rf "$collector" "$collector-src" "$collector.made-of"
	mkdir -p .tools
	(cd tools/otelcol && go build -o ../../.tools/ocb go.opentelemetry.io/collector/cmd/builder)
	(cd tools/otelcol && ../../.tools/ocb --config builder.yaml --skip-compilation >/dev/null 2>&1) || true
	(cd "$collector-src" && GOFLAGS=-mod=mod go build -trimpath -ldflags '-s -w' -o ../otelcol . 2>"../otelcol.log") || {
		tail -20 "$collector.log" >&2
		exit 1
	}
	rm -rf "$collector-src" "$collector.log" .tools/ocb
	cat tools/otelcol/builder.yaml tools/otelcol/go.sum >"$collector.made-of"
fi

# The F32 twin of the default model: the truth that the tests measure against.
twin=models/smollm2-135m-instruct-f32.gguf
twin_sha256=f0089e79d6755eb5fbbf61cf4a16ba6bd79641f199875d1dc38cef994afdd0fd
if [ ! -f "$twin" ] || ! echo "$twin_sha256  $twin" | sha256sum --check --status; then
	echo "make test-setup: writing $twin"
	".tools/venv/bin/python" engine/testdata/reference/dequantize.py models/smollm2-135m-instruct-q4_1.gguf "$twin"
	echo "$twin_sha256  $twin" | sha256sum --check --status || {
		echo "make test-setup: $twin is not the file that was expected" >&2
		exit 1
	}
fi

# The twin in Q8_0, which the tests and the benchmark compare with llama.cpp's results of the same file.
bytes=models/smollm2-135m-instruct-q8_0.gguf
if [ ! -f "$bytes" ]; then
	echo "make test-setup: writing $bytes"
	".tools/venv/bin/python" engine/testdata/reference/requantize.py "$twin" "$bytes"
fi
