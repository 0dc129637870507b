# Everything that one does with Cairn from a clone. `make help` lists the targets.
#
# Each target installs what it lacks on Debian and Ubuntu, and names it elsewhere
# (scripts/prerequisites.sh); RocksDB is compiled once for this machine (scripts/rocksdb.sh).
# There is one profile, --release, for the devnet, tests, lints and benches alike, so that
# nothing is compiled twice.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# One cargo at a time: two would only wait for each other's lock.
.NOTPARALLEL:

# Where cargo leaves what it builds. CI and several clones may share one folder.
# (A relative one is made absolute: tests run in their package's folder.)
CARGO_TARGET_DIR ?= target
override CARGO_TARGET_DIR := $(if $(filter /%,$(CARGO_TARGET_DIR)),,$(CURDIR)/)$(CARGO_TARGET_DIR)
export CARGO_TARGET_DIR
# Where what outlives a clone is kept: RocksDB's library, cargo-deny.
CAIRN_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/cairn
export CAIRN_CACHE
# rustup's usual place, for a shell that was opened before rustup was installed.
export PATH := $(PATH):$(HOME)/.cargo/bin

BINARY := $(CARGO_TARGET_DIR)/release/cairn
# In CI a Cargo.lock that does not fit is an error; at a desk cargo mends it.
LOCKED := $(if $(CI),--locked)
# How many rounds of `make crash`, and the seed of the first one, to run it again: make crash ROUNDS=1 SEED=7
ROUNDS ?= 50
SEED ?=
# How many simulated networks of `make soak`, and which bug is planted in one of their nodes (make -s plants).
SEEDS ?= 1000
PLANT ?=
# Arguments for the devnet: make devnet ARGS="--nodes 6 --datadir /tmp/devnet"; the parts to measure for bench.
ARGS ?=

.PHONY: help
help: ## list these targets
	@echo "Cairn: a proof-of-work ledger. Targets:"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

.PHONY: devnet
devnet: build ## build, then run real nodes that mine and gossip (ARGS="--nodes 4 --datadir DIR")
	@exec "$(BINARY)" devnet $(ARGS)

.PHONY: build
build: prepare ## build the one binary, cairn
	@cargo build --release $(LOCKED) --package node --bin cairn
	@echo "$(BINARY)"

# The same program with fail points beside every write: for the tests and `make crash` alone.
.PHONY: failpoints
failpoints: prepare
	@cargo build --release $(LOCKED) --package node --features failpoints --bin cairn-failpoints

# The black-box tests start the binaries, so they are built first.
.PHONY: test
test: prepare-test build failpoints ## run all tests
	@if cargo nextest --version >/dev/null 2>&1; then \
		cargo nextest run --release $(LOCKED) --workspace; \
		cargo test --release $(LOCKED) --workspace --doc; \
	else \
		cargo test --release $(LOCKED) --workspace; \
	fi

.PHONY: quic
quic: prepare-test ## run the network's tests with QUIC built in
	@if cargo nextest --version >/dev/null 2>&1; then \
		cargo nextest run --release $(LOCKED) --package node --features quic --lib p2p::; \
	else \
		cargo test --release $(LOCKED) --package node --features quic --lib p2p::; \
	fi

.PHONY: limits
limits: prepare ## write docs/limits.md anew from the sources
	@CAIRN_WRITE_LIMITS=1 cargo test --release $(LOCKED) --package tests --test limits_page

.PHONY: crash
crash: build failpoints ## kill nodes at every write, fill disks, tear files (ROUNDS=50 SEED=...)
	@cargo run --release $(LOCKED) --package tests --bin crash -- --rounds $(ROUNDS) $(if $(SEED),--seed $(SEED) --no-deep)

# Built with the same features as the fail points, so that the libraries are compiled once for both.
.PHONY: soak
soak: prepare ## simulate networks with faults and hostile peers (SEEDS=1000 SEED=first PLANT=name)
	@cargo run --release $(LOCKED) --package tests --features faults --bin soak -- --seeds $(SEEDS) $(if $(SEED),--seed $(SEED)) $(if $(PLANT),--plant $(PLANT))

.PHONY: plants
plants: prepare ## print the bugs that `make soak PLANT=name` can plant
	@cargo run --quiet --release $(LOCKED) --package tests --features faults --bin soak -- --plants

.PHONY: bench
bench: build ## measure (at most 15 minutes), write bench.json, print the table (ARGS="connect mempool")
	@rm -f bench.json
	@cargo run --release $(LOCKED) --package tests --bin bench -- $(ARGS)

.PHONY: lint
lint: prepare-lint ## check format, clippy's warnings and the dependencies
	@cargo fmt --all --check
	@cargo clippy --release $(LOCKED) --workspace --all-targets -- --deny warnings
	@cargo clippy --release $(LOCKED) --package node --features quic --all-targets -- --deny warnings
	@scripts/deny.sh

.PHONY: fmt
fmt: ## format the sources
	@cargo fmt --all

# What the targets above stand on. Each looks at files only when nothing is missing.
.PHONY: prepare prepare-test prepare-lint
prepare:
	@scripts/prerequisites.sh
	@scripts/rocksdb.sh
prepare-test:
	@scripts/prerequisites.sh test
prepare-lint:
	@scripts/prerequisites.sh lint
	@scripts/rocksdb.sh
