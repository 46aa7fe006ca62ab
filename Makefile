# The commands of this repository. Each installs what it needs and this machine lacks (see .ci/setup).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)

RELEASE := target/release
DEMO := target/demo
RANKS ?= 64

.PHONY: help build demo test check bench bench-omp bench-snapshot bench-checkpoint bench-migration bench-migratable bench-cluster chaos fmt clippy doc deny

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

build: ## build faasm-run, faasm-cc and faasm-c++ into target/release
	@.ci/setup build
	@cargo build --release
	@$(RELEASE)/faasm-cc --faasm-install

demo: build ## compile an MPI program and run it with 64 ranks
	@mkdir -p $(DEMO)
	$(RELEASE)/faasm-cc -O3 workloads/guests/apps/demo.c -o $(DEMO)/demo.wasm -lm
	$(RELEASE)/faasm-run -n $(RANKS) --report $(DEMO)/demo.wasm

test: ## run all tests
	@for part in build network ssh slurm yaml; do .ci/setup $$part; done
	@bench/rivals.sh
# This builds the binaries too; `cargo build` would compile wasmtime once more, with fewer features.
	@cargo test --workspace --no-run
	@target/debug/faasm-cc --faasm-install
	@cargo test --workspace --no-fail-fast

check: fmt clippy test doc deny ## everything a change must pass

bench: build ## measure beside Open MPI and MPICH; BENCH="--quick --only ring" passes options on
	@bench/rivals.sh
	@cargo build --release --package faasm-bench
	@$(RELEASE)/faasm-bench $(BENCH)

bench-omp: build ## measure OpenMP beside gcc's and clang's libraries; BENCH="--np 2" passes options on
	@bench/rivals.sh omp
	@cargo build --release --package faasm-bench
	@$(RELEASE)/faasm-bench --omp $(BENCH)

bench-snapshot: ## measure how instances are made, reset and restored, beside wasmtime; BENCH="--only calls" passes options on
	@.ci/setup build
	@cargo build --release --package faasm-bench
	@mkdir -p bench/out
	@$(RELEASE)/faasm-bench --snapshot --html bench/out/snapshot.html $(BENCH)

bench-checkpoint: build ## measure checkpoints of 64 ranks beside dd; BENCH="--runs 3 --dir DIR" passes options on
	@bench/checkpoint.sh $(BENCH)

bench-migration: build ## measure how ranks are moved; BENCH="gap --moves 20" passes words on, "together" needs root
	@bench/migration.sh $(BENCH)

bench-migratable: build ## measure what stacks that can be taken cost; BENCH="--parres DIR --lulesh DIR --hpcg DIR --minimd DIR"
	@bench/migratable.sh $(BENCH)

bench-cluster: build ## measure two hosts against both over TCP, as root; BENCH="--parres DIR --hpcg DIR" as well
	@.ci/setup network
	@bench/rivals.sh
	@cargo build --release --package faasm-bench
	@trap 'bench/netns.sh --lab bench down' EXIT; $(RELEASE)/faasm-bench --cluster $(BENCH)

chaos: build ## kill nodes of running jobs at random; CHAOS="--runs 5 --seed 7 --lulesh DIR" passes options on
	@bench/chaos.sh $(CHAOS)

fmt:
	@.ci/setup build
	@cargo fmt --all --check

clippy:
	@.ci/setup build
	@cargo clippy --workspace --all-targets --quiet -- -D warnings

doc:
	@RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet

# Known vulnerabilities are looked up in a database that is fetched each time; without a network the rest is checked.
deny:
	@.ci/setup deny
	@cargo deny --log-level error check bans licenses sources
	@if cargo deny fetch db 2>/dev/null; then cargo deny --log-level error check --disable-fetch advisories; \
	else echo "WARNING: known vulnerabilities NOT checked: their database cannot be fetched" >&2; fi
