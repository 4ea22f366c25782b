# What a developer types. `make test` is all it takes on a fresh machine with a Rust toolchain.

# The stories wait more than they compute: more of them than there are cores may run at a time.
export RUST_TEST_THREADS ?= 8

.PHONY: test soak tools lint docs bench

# Debian's packages that building (a C compiler; perl and make for the vendored OpenSSL) and testing (PostgreSQL and
# pgbouncer) need, installed where they are missing (as root). The tests start clusters of their own: Debian's default
# one is not made.
tools:
	@missing=; \
	command -v cc >/dev/null || missing="$$missing build-essential"; \
	command -v perl >/dev/null || missing="$$missing perl"; \
	command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$$missing postgresql"; \
	command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ] || missing="$$missing pgbouncer"; \
	[ -z "$$missing" ] || { \
		mkdir -p /etc/postgresql-common && { [ -e /etc/postgresql-common/createcluster.conf ] || \
			echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf; } && \
		apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
			-o Dpkg::Options::=--force-confold $$missing; }

test: tools
	cargo test --locked

# The stories of outages and kills at full length, half an hour: `make test` runs them shortened.
soak: tools
	SOAK=1 cargo test --locked --test journal --test stories -- --nocapture

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
