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

bench: tools
	cargo bench --locked
