# Semantic. `make help` lists the targets.
.DEFAULT_GOAL := help
.PHONY: help run build model test test-setup check lint unit correctness e2e compliance compliance-tools notice licenses vuln dist bench-first bench-engine bench-proxy bench-observability soak-logs soak-engine fuzz chaos docs console console-check clean

VERSION  ?= $(shell sed -n 's/^## \[\([0-9][^]]*\)\].*/\1/p' CHANGELOG.md | head -n 1)
LDFLAGS  := -s -w -X github.com/semantic-pod/semantic/telemetry.version=$(VERSION)
BIN      := bin/semantic
GO_FILES := $(shell find . -name '*.go' -o -name '*.s' -o -name '*.h' | grep -v node_modules) go.mod go.sum $(wildcard cmd/semantic/default.pgo) sbom/components.json sbom/NOTICE engine/builtin/semantic-builtin.gguf $(shell find sidecar/console/dist -type f)

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## Build, fetch the default model, start the pod (ARGS="--port 9000" adds flags)
	@OR_BUILTIN=1 tools/model.sh
	@exec $(BIN) serve $(ARGS)

build: $(BIN) ## Build bin/semantic (TAGS=azure,gcs adds the drivers of their object stores)

$(BIN): $(GO_FILES)
	CGO_ENABLED=0 go build -buildvcs=auto -trimpath $(if $(TAGS),-tags '$(TAGS)') -ldflags '$(LDFLAGS)' -o $@ ./cmd/semantic

# The compiler inlines and lays out by what the proxy was seen to do for requests. Tests
# and checks do without: they would compile everything once more.
PROFILE := cmd/semantic/default.pgo
lint check unit: export GOFLAGS := $(GOFLAGS) -pgo=off

.PHONY: profile
profile: ## Take the profile by which the binary is compiled anew (after the proxy's hot path changed)
	go test -trimpath -pgo=off -run '^$$' -bench '^Benchmark(OwnWork|ForwardWithKey|StreamChunk|Probe)$$' -benchtime 5s -cpuprofile $(PROFILE) -o /dev/null ./proxy

.PHONY: image
IMAGE := localhost/semantic:$(or $(VERSION),devel)
image: build ## Build the container image with podman, buildah or docker (IMAGE=name:tag)
	@tools/image.sh $(BIN) $(IMAGE)

model: ## Fetch the default model to models/ (89 MiB, pinned by SHA-256)
	@tools/model.sh

test: test-setup check unit correctness e2e bench-scale-check browser console-check manifests-check test-pod fuzz compliance ## Set up what the tests need and run every test
	@echo 'make test: all passed'

test-setup: model ## Install what the tests need: Debian, Python and npm packages, the F32 twin
	@tools/test-setup.sh

check: lint ## Check formatting, vet, lint
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo 'make check: run gofmt -w on:'; gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet ./...

.PHONY: check-tags
check-tags: ## Compile the object stores' drivers that are behind build tags (minutes, the first time)
	go vet -tags gcs,azure ./objectstore/

lint: ## Run golangci-lint at its pinned version
	cd tools/lint && go build -o ../../.tools/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	.tools/golangci-lint run --allow-parallel-runners ./...

# The packages whose tests compute with the real model: too slow under the race
# detector, which cannot see into assembly anyway.
CORRECTNESS := ./engine/kernel/... ./engine/model/...

unit: ## Run the unit tests with the race detector
	go test -race -timeout 10m $$(go list ./... | grep -v -e /e2e)

.PHONY: test-vllm
test-vllm: build model test-setup ## Drive a pod in front of the vLLM at VLLM_URL; the result goes to bench/vllm.json
	VLLM_URL='$(VLLM_URL)' VLLM_RESULT=$(CURDIR)/bench/vllm.json go test -tags vllm -count=1 -timeout 10m -run TestInFrontOfVLLM ./e2e

correctness: ## Measure the engine's numbers against llama.cpp's reference figures
	go test -count=1 -timeout 10m $(CORRECTNESS)

e2e: build ## Drive the whole pod from outside with real clients
	go test -count=1 -timeout 15m ./e2e ./e2e/load

.PHONY: manifests manifests-check
manifests: build ## Render deploy/kubernetes from the Helm chart, and the chart's alert rules from alerts/
	tools/manifests.sh

manifests-check: build ## Hold the chart against Kubernetes' types and levels, helm's linter and checkov
	cd tools/manifests && go vet ./... && go test -count=1 -timeout 10m ./...

.PHONY: test-pod
test-pod: image ## Drive the image and the pod made of it in real containers (podman, as root)
	IMAGE_UNDER_TEST=$(IMAGE) go test -count=1 -timeout 10m ./e2e/container

.PHONY: drill-pod
drill-pod: image model ## As make drill, of pods of real containers (podman, as root); test-pod has short forms
	IMAGE_UNDER_TEST=$(IMAGE) go test -count=1 -parallel 1 -timeout 120m -run '^(TestRollingPodsLoseNothing|TestCrashedPodsAreToldAndMended)$$' ./e2e/container -v -args -drill $(DRILL) -crash-drill 2m

.PHONY: browser
browser: build ## Drive the console in Debian's chromium; pictures of each view in both themes go to run/screenshots (SCREENSHOTS=DIR)
	cd e2e/browser && go test -count=1 -timeout 15m ./...

BUNDLED := sidecar/console/dist sidecar/console/web/bundled.json sidecar/console/web/LICENSES

console: ## Bundle the console's page of sidecar/console/web, whose output is committed
	cd sidecar/console/web && npm ci --silent --no-audit --no-fund --ignore-scripts && npm run --silent build

console-check: console ## Check that the committed bundle, and the list of what lies in it, are those of the sources
	@git diff --exit-code --stat -- $(BUNDLED) && test -z "$$(git status --porcelain -- $(BUNDLED))" || { echo 'make console-check: commit what "make console" makes'; exit 1; }

.PHONY: builtin-model-check
builtin-model-check: ## Train the built-in model twice, for 80 steps, and compare byte for byte (STEPS=3200: the whole of it)
	tools/builtin-model/reproduce.sh

soak-logs: ## Prove rotation at 200,000 lines a second: kills, full disks, clock steps; logrotate beside it
	go test -tags soak -count=1 -v -timeout 20m -run TestSoak ./sidecar/

# What proves where the binary comes from: see docs/compliance.md.
TRIAL_KEY := .tools/dist-key.pem
DIST_KEY  ?= $(TRIAL_KEY)
DIST      ?= dist
COMPLIANCE_TOOLS := .tools/cyclonedx-gomod .tools/go-licenses .tools/govulncheck

compliance: licenses ## Make the release twice, compare, let outside judges look at it (COLD=1: compile all twice)
	go test -count=1 -timeout 20m -tags compliance ./tools/compliance/...

compliance-tools: $(COMPLIANCE_TOOLS)

$(COMPLIANCE_TOOLS) &: tools/sbom/go.mod tools/sbom/go.sum
	cd tools/sbom && go build -o ../../.tools/ github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod \
		github.com/google/go-licenses/v2 golang.org/x/vuln/cmd/govulncheck
	@touch $(COMPLIANCE_TOOLS)

notice: compliance-tools ## Write sbom/components.json and NOTICE anew (after a dependency or the built-in model changed)
	go run ./tools/compliance notice

licenses: compliance-tools ## Hold every licence against sbom/policy.yaml, and NOTICE and SBOM against the module cache
	go run ./tools/compliance notice --check

vuln: build compliance-tools ## Say which known vulnerabilities are reachable, into vex.cdx.json (GOVULNDB=folder or URL; VULN_REQUIRED=1 fails)
	go run ./tools/compliance vuln --binary $(BIN) --out vex.cdx.json $(if $(filter-out 0,$(VULN_REQUIRED)),--required)

dist: ## Build the release into dist/: binaries, SBOMs, provenance; DIST_KEY=PEM signs it
	go run ./tools/compliance dist --out $(DIST) --version '$(VERSION)' --key $(DIST_KEY) $(if $(filter $(TRIAL_KEY),$(DIST_KEY)),--new-key)

bench-first: build model ## Measure cold start, first token, the proxy's share and memory into bench/
	go run ./bench/first -bin $(BIN) -out bench/first.json

BENCH_ENGINE := .tools/bench-engine
bench-engine: build test-setup ## Measure the engine by turns with llama.cpp into bench/engine.json and .png
	bench/engine/setup.sh
	go run ./bench/engine -bin $(BIN) -python $(BENCH_ENGINE)/bin/python -libs $(BENCH_ENGINE)/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64 \
		-out bench/engine.json Q4_1=models/smollm2-135m-instruct-q4_1.gguf Q8_0=models/smollm2-135m-instruct-q8_0.gguf
	$(BENCH_ENGINE)/bin/python bench/engine/plot.py bench/engine.json bench/engine.png

.PHONY: bench-crowd
bench-crowd: build model ## Measure a long prompt beside 16 chats, and 256 chats in 2 GiB, into bench/crowd.json (CGROUP=folder bounds the memory)
	go run ./bench/crowd -bin $(BIN) -out bench/crowd.json -cgroup "$(CGROUP)" $(ARGS)

bench-observability: build test-setup ## Measure what metrics, log and traces cost into bench/observability.json and .png
	go build -o .tools/bench-observability-run ./bench/observability
	.tools/bench-observability-run -bin $(BIN) -out bench/observability.json $(ARGS)
	test -x .tools/bench/venv/bin/python || { python3 -m venv .tools/bench/venv && .tools/bench/venv/bin/pip install --quiet --disable-pip-version-check matplotlib==3.11.2; }
	.tools/bench/venv/bin/python bench/observability/plot.py bench/observability.json bench/observability.png

.PHONY: bench-sidecar
bench-sidecar: build model ## Measure the sidecar idle, at 200,000 lines a second, and beside requests, into bench/sidecar.json and .png
	go run ./bench/sidecar -bin $(BIN) -out bench/sidecar.json
	python3 -m venv .tools/bench-sidecar && .tools/bench-sidecar/bin/pip install --quiet --disable-pip-version-check -r bench/engine/requirements.txt
	.tools/bench-sidecar/bin/python bench/sidecar/plot.py bench/sidecar.json bench/sidecar.png

.PHONY: bench-scale bench-scale-check
bench-scale: build model ## Measure a pod's service times, check the simulation against 1 to 3 real pods, simulate 1,000: bench/scale.json and .png (CGROUP=folder, root)
	go run ./bench/scale -bin $(BIN) -out bench/scale.json $(if $(CGROUP),-cgroup $(CGROUP)) $(ARGS)
	test -x .tools/bench/venv/bin/python || { python3 -m venv .tools/bench/venv && .tools/bench/venv/bin/pip install --quiet --disable-pip-version-check matplotlib==3.11.2; }
	.tools/bench/venv/bin/python bench/scale/plot.py bench/scale.json bench/scale.png

bench-scale-check: build model ## Its short form, in make test: 60 turns on two real pods find as many tokens cached as is predicted, each
	go run ./bench/scale -bin $(BIN) -parts short

docs: ## Write what is generated from the code and from bench/ into docs/ and README.md
	go test ./cmd/semantic ./bench/proxy -run 'PageIsThatOfTheCode$$' -update

FUZZTIME := 1m
FUZZ     := FuzzRequest:./proxy FuzzLoopParser:./proxy FuzzTrailers:./proxy FuzzKeyFile:./proxy/keys

fuzz: ## Fuzz the raw request path, a stream's end and the key file, beside each other (FUZZTIME=1m)
	@pids=; for f in $(FUZZ); do \
	  go test -run '^$$' -fuzz "^$${f%%:*}\$$" -fuzztime $(FUZZTIME) -parallel 2 "$${f##*:}" & pids="$$pids $$!"; \
	done; status=0; for pid in $$pids; do wait $$pid || status=1; done; exit $$status

chaos: build model ## Kill and pause the engine at random under load (CHAOS=5m); e2e has a short form
	go test -count=1 -timeout 30m -run '^TestChaos$$' ./e2e -v -args -chaos $(CHAOS)

CHAOS := 5m

.PHONY: drill
drill: build model ## Restart pods DRILL times (100) in turn under the SDK's load, then kill their processes; e2e has short forms
	go test -count=1 -timeout 60m -run '^(TestRollingRestartsLoseNothing|TestCrashesAreToldAndMended)$$' ./e2e -v -args -drill $(DRILL) -crash-drill 2m

DRILL := 100

bench-proxy: build ## Compare the proxy with nginx, HAProxy, Caddy and ReverseProxy into bench/ (ARGS=-smoke: briefly)
	bench/proxy/run.sh $(ARGS)

.PHONY: bench-crowds
bench-crowds: build ## Measure 1,000 and 5,000 streams, 10,000 idle connections, 5,000 slow readers, refusals into bench/proxy.json
	bench/proxy/run.sh -cases streams,crowds,refusals -peers semantic $(ARGS)

soak-engine: ## Load two engines for SOAK (10m): one lives through, one is killed again and again
	go test -count=1 -v -timeout 30m ./engine/soak -soak $(SOAK)

SOAK := 10m

clean: ## Remove what was built (keeps the models)
	rm -rf bin .tools dist vex.cdx.json
