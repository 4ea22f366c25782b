# What a developer types. `make test` is all it takes on a fresh machine with a Rust toolchain.

# The stories wait more than they compute: more of them than there are cores may run at a time.
export RUST_TEST_THREADS ?= 8

.PHONY: test tools lint docs bench

# Debian's packages that building and testing need, installed where they are missing (as root).
tools:
	@command -v cc >/dev/null || { apt-get update && apt-get install -y --no-install-recommends build-essential; }

test: tools
	cargo test --locked

lint: tools
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings

docs: tools
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked

# Mainnet-size benches, some ten minutes on a quiet machine; ends with a table of what was measured against its budget.
bench: SHELL := /bin/bash
bench: .SHELLFLAGS := -o pipefail -c
bench: tools
	mkdir -p target
	cargo bench --locked --bench '*' 2>&1 | tee target/bench.log
	@echo; echo '| work | budget | measured | share of the budget |'; echo '|---|---|---|---|'; grep '^| ' target/bench.log
