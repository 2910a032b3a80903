# The only front door. `make help` lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo run test check bench bench-peers instructions mutants histories sim fuzz layer fault-manager clean local examples layer-split layer-reproducible

# Architectures as Lambda spells them: this machine's, and what is asked for, both if nothing is.
MACHINE := $(subst aarch64,arm64,$(shell uname -m))
ARCHITECTURES := $(or $(ARCHITECTURE),x86_64 arm64)
LOCAL_LAYER := target/layer/local
# What the simulation writes and the checkers of others read.
HISTORIES := $(CURDIR)/target/histories

help: ## This list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 15

demo: local examples ## The same transfers, errors, kills and duplicates with and without AFT
	@python=$$(tests/tools.sh python) || echo "The Python half of the demo is passed over, for the reason above."; \
	target/debug/demo --layer $(LOCAL_LAYER) $${python:+--python $$python/bin/python}

run: local examples ## A local Lambda with the Rust example, and the curl lines to try
	@target/debug/aft local --name transfer --sandboxes 2 --layer $(LOCAL_LAYER) \
	  --event '{"do":"transfer","customer":"ada","transfer":"t1","amount":5}' \
	  --event '{"do":"transfer","customer":"ada","transfer":"t2","amount":5,"faults":[{"after":1,"how":"error"},{"after":2,"how":"kill"}]}' \
	  --event '{"do":"audit","customer":"ada"}' \
	  -- target/debug/transfer

test: tools check layer-for-tests ## Format, lints, docs, licences; then every test
	cargo build --workspace
	rm -rf $(HISTORIES)
	HISTORIES_OUT="$(HISTORIES)" HISTORIES_IN="$(HISTORIES)" cargo test --workspace

check: need-cargo ## Format, clippy, docs, dependency audit (licences, bans, sources), notices, templates, mutants that still fit
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features
	cargo fetch --locked
	@$$(tests/tools.sh cargo-deny)/cargo-deny --offline --all-features check licenses bans sources
	@layer/bill.py notices | diff - layer/THIRD-PARTY.txt || { echo "make notices brings layer/THIRD-PARTY.txt up to date" >&2; exit 1; }
	@tests/sam/lint.sh
	@python3 tests/mutants.py --fits
	@python3 proof/simulation/mutants.py --fits

bench: local ## Figures, side by side in one run
	cargo bench -p aft-bench

# Figures and tables are made by the pinned matplotlib only, whose tests come first: a broken script is no reason to measure again.
bench-peers: local ## Side by side with what one would use instead, into docs/bench: PEERS="--share 0.2 …" (target/release/peers --help)
	@matplotlib=$$(tests/tools.sh matplotlib); export PYTHONPATH=bench/peers PYTHONDONTWRITEBYTECODE=1; \
	$$matplotlib/bin/python -m unittest discover -s bench/peers/tests; \
	cargo build --release -p aft-peers; \
	mkdir -p docs/bench; \
	target/release/peers --layer $(LOCAL_LAYER) --json docs/bench/peers.json $(PEERS); \
	if [ -f docs/bench/scale.json ]; then scale="--scale docs/bench/scale.json"; fi; \
	bench/peers/report.py docs/bench/peers.json $${scale:-} >docs/bench/README.md; \
	$$matplotlib/bin/python bench/peers/plot.py docs/bench/peers.json docs/bench $${scale:-}; \
	cat docs/bench/README.md

# `make test` compares with what this has noted.
instructions: layer-for-tests ## Counts the instructions of the hot paths in what ships, and notes them (valgrind)
	AFT_INSTRUCTIONS_WRITE=1 cargo test -p aft-bench --test instructions

.PHONY: profile
profile: need-cargo ## Flame graphs of the hot paths, into docs/bench (perf)
	bench/profile.sh

mutants: need-cargo ## Breaks the protocol one rule at a time; every break must be noticed (minutes)
	python3 tests/mutants.py

# Of the simulation only what exports histories; of the tests only what judges them.
histories: tools ## Histories of the simulation, judged by checkers of others
	rm -rf $(HISTORIES)
	HISTORIES_OUT="$(HISTORIES)" cargo test -p aft-simulation --test histories keep_every_promise
	HISTORIES_IN="$(HISTORIES)" cargo test -p aft-tests --test histories exported

# One seed with everything that happens in it, or so many of each kind.
sim: need-cargo ## Seeded histories, optimised: SEED=… (one), or MEMORY=… and DYNAMODB=… of them (docs/proof.md)
	cargo run --profile sim -p aft-simulation --bin sim -- \
	  $(if $(SEED),--seed $(SEED),--from $${FROM:-1} --memory $${MEMORY:-200000} --dynamodb $${DYNAMODB:-5000})

sim-mutants: need-cargo ## Deliberate bugs, one build: after how many seeds the simulation finds each (minutes)
	proof/simulation/mutants.py

model: need-cargo ## The protocol's model, explored to its last state, and with each rule taken away (ten minutes)
	cargo run --profile sim -p aft-model

paper: need-cargo ## AFT's own workload on a plain store, with retries, and with AFT: the paper's Table 2
	cargo run --profile sim -p aft-simulation --bin paper

# `make test` runs the corpora and changes to them; this goes on from there: docs/fuzzing.md.
fuzz: need-cargo ## What parses bytes from outside, by libFuzzer: TARGET=… (all in turn), SECONDS=… (60 each)
	proof/fuzz/fuzz.sh "$(TARGET)" $(SECONDS)

layer: need-cargo ## What is published: target/layer/aft-<architecture>.zip, of both or of one, ARCHITECTURE=x86_64 or arm64
	for architecture in $(ARCHITECTURES); do layer/build.sh layer $$architecture; done

fault-manager: need-cargo ## The fault manager's package, of both architectures or of one, ARCHITECTURE=x86_64 or arm64
	for architecture in $(ARCHITECTURES); do layer/build.sh fault-manager $$architecture; done

layer-split: need-cargo ## Which dependency has how many bytes of the layer's programs
	layer/build.sh split $(or $(ARCHITECTURE),$(MACHINE))

layer-reproducible: need-cargo ## Builds the layer twice, in other places and for another user; the zips must be the same (minutes)
	layer/reproducible.sh $(ARCHITECTURES)

# What the tests run is what ships. Where this machine cannot build for the other architecture, its tests say so.
.PHONY: layer-for-tests
layer-for-tests: need-cargo
	layer/build.sh layer $(MACHINE)
	layer/build.sh layer $(filter-out $(MACHINE),x86_64 arm64) || [ $$? = 3 ]

local: need-cargo ## What `aft local` takes: the layer for this machine in target/layer/local, and target/debug/aft
	layer/build.sh local
	cargo build -p aft-cli

examples: need-cargo
	cargo build -p transfer -p demo

# First of all, so that what is missing on this machine is said before anything is built.
.PHONY: tools
tools: need-cargo
	@command -v unshare >/dev/null || { echo "unshare is missing: install util-linux (AWS's emulator needs a private /opt)" >&2; exit 1; }
	@tests/tools.sh all >/dev/null

.PHONY: need-cargo
need-cargo:
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.94.1 or newer (rustup.rs)" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "cc is missing: install a C compiler (SQLite and ring are built with it)" >&2; exit 1; }

.PHONY: notices sbom
notices: need-cargo ## layer/THIRD-PARTY.txt: the licences of what others wrote and the binaries contain
	layer/bill.py notices >layer/THIRD-PARTY.txt

sbom: need-cargo ## target/sbom: what the binaries contain, as CycloneDX
	layer/bill.py sbom target/sbom

.PHONY: dist
dist: layer fault-manager ## target/dist: all that a release consists of, with checksums
	layer/dist.sh $(ARCHITECTURES)

# The regions that every account has.
REGIONS ?= us-east-1 us-east-2 us-west-1 us-west-2 ca-central-1 sa-east-1 eu-west-1 eu-west-2 eu-west-3 eu-central-1 eu-north-1 \
  ap-south-1 ap-southeast-1 ap-southeast-2 ap-northeast-1 ap-northeast-2 ap-northeast-3

.PHONY: publish-layer
publish-layer: ## Says how target/layer would be published; CONFIRM=yes does it: REGIONS=… ARCHITECTURE=… PUBLIC=yes (for every account)
	@layer/publish.py --regions "$(REGIONS)" --architectures "$(or $(ARCHITECTURE),x86_64 arm64)" \
	  $(if $(filter yes,$(PUBLIC)),--public) $(if $(filter yes,$(CONFIRM)),--confirm)

clean: ## Removes what was built and fetched
	rm -rf target .cache .aft

# Called by `sam build` for the layer and the fault manager in template.yaml, by way of layer/sam/<architecture>/Makefile.
.PHONY: build-AftLayer build-FaultManager
build-AftLayer build-FaultManager: ARCHITECTURE := $(or $(ARCHITECTURE),$(MACHINE))
build-AftLayer: need-cargo
	layer/build.sh layer $(ARCHITECTURE)
	cp -R target/layer/$(ARCHITECTURE)/. "$(ARTIFACTS_DIR)"

build-FaultManager: need-cargo
	layer/build.sh fault-manager $(ARCHITECTURE)
	cp -R target/fault-manager/$(ARCHITECTURE)/. "$(ARTIFACTS_DIR)"
