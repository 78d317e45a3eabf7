# SPDX-License-Identifier: Apache-2.0
# Entry to everything; `make help` lists the targets. Every recipe uses the Node in .tools, whatever the machine has.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory --no-builtin-rules

ARCH := $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x64)
TOOLS := $(CURDIR)/.tools/node_modules
# /usr/sbin: Debian keeps bpftool, ip, nginx and haproxy there, and su(1) may have dropped it.
export PATH := $(TOOLS)/node-linux-$(ARCH)/bin:$(TOOLS)/.bin:$(CURDIR)/node_modules/.bin:$(PATH):/usr/sbin:/sbin
export NODE_OPTIONS :=

NATIVE_DIRS := $(dir $(wildcard packages/*/native/Makefile))
MANIFESTS := package.json pnpm-lock.yaml pnpm-workspace.yaml $(wildcard packages/*/package.json bench/package.json examples/*/package.json)
# C that exists; generated headers live in .output and are not formatted.
C_SOURCES := $(wildcard bpf/*.c bpf/include/pillion/*.h packages/*/native/*.c packages/*/native/*.h \
	bench/load/*.c test/*/*.c packages/*/test/*.c packages/*/test/support/*.c)

.PHONY: help bootstrap bpf native gen build check static format test test-kernels test-corpora test-h2spec bench bench-hitless bench-propagation bench-scale bench-streams bench-fairness soak bench-telemetry bench-reconnect bench-routes demo apiserver images clean distclean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

bootstrap: .cache/pnpm.stamp ## install what is missing: Debian packages (as root), Node 24, pnpm, dependencies

# Always looked at (50 ms): a stamp would not notice a package removed since.
.PHONY: machine
machine:
	@tools/bootstrap.sh

.cache/pnpm.stamp: $(MANIFESTS) | machine
	@echo 'pnpm install'
	@CI=true pnpm install --frozen-lockfile --prefer-offline --reporter=append-only >.cache/pnpm.log 2>&1 \
		|| { cat .cache/pnpm.log; exit 1; }
	@touch $@

bpf: bootstrap ## compile the BPF programs into bpf/.output
	@$(MAKE) -C bpf

native: bootstrap ## compile the N-API addons and the bench client
	@for dir in $(NATIVE_DIRS) bench/load; do $(MAKE) -C $$dir; done

gen: bpf ## write generated files again: protobuf, struct layouts, CRDs, chart, reference pages
	@tools/gen-protobuf.sh .
	@if [ -f tools/gen-layout.ts ]; then node tools/gen-layout.ts; fi
	@node tools/gen-docs.ts
	@node tools/gen-crds.ts
	@node tools/gen-chart.ts

build: bootstrap bpf native ## everything that has to be compiled

# What needs no test runner, cheapest first.
static: build
	@echo 'format'  && prettier --check --log-level warn .
	@echo 'clang-format' && clang-format --dry-run --Werror $(C_SOURCES)
	@echo 'types'   && tsc -p .
	@echo 'lint'    && eslint .

check: static ## format, lint, types, and the repository's rules (test/repo)
	@node tools/test.ts test/repo

format: bootstrap ## rewrite every file in the project's format
	@prettier --write --log-level warn .
	@clang-format -i $(C_SOURCES)

test: static ## check, then all tests; kernel tests need root
	@node tools/test.ts

# A minute of two cores for each kernel, and 100 MB to fetch the first time: not part of `make test`.
test-kernels: build ## boot Debian's kernels in qemu, try everything there; writes docs/kernel-support.md (KERNELS="6.1")
	@tools/bootstrap.sh tools/debian-packages-kernels.txt
	@node test/kernels/run.ts $(KERNELS)

# CORPORA: a directory with fuzz corpora, for example the unpacked Debian sources of h2o, nghttp2 and grpc.
test-corpora: build ## throw all inputs below CORPORA at every listener and upstream of the proxy, ROUNDS (25) times
	@PILLION_CORPORA='$(CORPORA)' PILLION_CORPORA_ROUNDS='$(or $(ROUNDS),25)' TAP=1 TAP_TIMEOUT=0 \
		node packages/node-l7-proxy/test/hostile/corpora.test.ts

# H2SPEC: the path of the conformance checker h2spec, which is not among Debian's packages.
test-h2spec: build ## run the HTTP/2 conformance checker at H2SPEC against the proxy
	@node packages/node-l7-proxy/test/conformance-http2/checker.ts '$(H2SPEC)' -S

bench: build ## measure Pillion beside its peers; writes bench/results
	@node bench/run.ts $(BENCH_FLAGS)

bench-hitless: build ## replace and kill proxies under a million requests; writes bench/results/hitless.json; root only
	@node bench/hitless/run.ts $(BENCH_FLAGS)

bench-propagation: build ## simulate a change on its way to 200 nodes; writes bench/results/propagation.json
	@node packages/operator/bench/run.ts $(BENCH_FLAGS)

bench-scale: build ## measure one node with 10 000 services and policies; writes bench/results/scale.json; root only
	@node packages/ebpf-l4/bench/scale.ts $(BENCH_FLAGS)

bench-telemetry: build ## measure what flow telemetry costs; writes bench/results/telemetry.json; root only
	@node packages/ebpf-l4/bench/telemetry.ts $(BENCH_FLAGS)

bench-streams: build ## compare one-way streams with and without acceleration; writes bench/results/streams.json; root only
	@node packages/ebpf-l4/bench/streams.ts $(BENCH_FLAGS)

bench-fairness: build ## abuse one service of a proxy, ask another one; writes bench/results/fairness.json
	@node packages/node-l7-proxy/bench/fairness.ts $(BENCH_FLAGS)

soak: build ## an hour of checksummed streams over accelerated connections; root only
	@node packages/ebpf-l4/bench/streams.ts --soak 3600

bench-routes: bootstrap ## measure how a request finds its rule in long route tables; writes bench/results/routes.json
	@node packages/node-l7-proxy/bench/route.ts $(BENCH_FLAGS)

bench-reconnect: build ## simulate 200 nodes that come to another replica; writes bench/results/reconnect.json
	@node packages/operator/bench/reconnect.ts $(BENCH_FLAGS)

demo: build ## two nodes, one shop: the mesh at work, then nothing left behind
	@node examples/demo.ts

apiserver: build ## an API server for `pillion lab up --kubeconfig`, until interrupted; writes FILE (.cache/lab.kubeconfig)
	@node test/support/apiserver/main.ts $(or $(FILE),.cache/lab.kubeconfig)

images: ## container images of operator, agent and proxy, where an engine exists; PREFIX=example.org/mesh/
	@images/make.sh $(PREFIX)

clean: ## remove what was built
	@rm -rf bpf/.output packages/*/native/.build packages/*/native/.output bench/load/.output .cache .tap

distclean: clean ## remove also what bootstrap installed in this directory
	@rm -rf .tools node_modules packages/*/node_modules bench/node_modules
