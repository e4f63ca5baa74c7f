# The targets that people and CI use. `make verify` only reads; `make fix` mends.

.PHONY: test verify fix tools up down smoke openapi metrics bench bench-http bench-cluster chaos chaos-short fuzz sim sim-faults loadtest

## Installs what the tests need (where it can), and runs them all. The load test is built by itself: the features of its
## TLS must not get into the server.
test: tools
	cargo test --workspace --exclude stint-loadtest
	cargo test -p stint-loadtest

## Everything that must hold before a change lands.
verify:
	cargo fmt --all --check
	cargo clippy --workspace --exclude stint-loadtest --all-targets -- -D warnings
	cargo clippy -p stint-loadtest --all-targets -- -D warnings
	$(MAKE) test
	dashboards/check
	$(MAKE) chaos-short

## Formats, and mends what clippy can mend.
fix:
	cargo clippy --workspace --exclude stint-loadtest --all-targets --fix --allow-dirty --allow-staged
	cargo clippy -p stint-loadtest --all-targets --fix --allow-dirty --allow-staged
	cargo fmt --all

## Simulates the allocators' cluster from many seeds: make sim SEEDS=2000
sim:
	STINT_SIM_SEEDS=$(or $(SEEDS),200) cargo test -p stint --test sim every_seed_keeps_every_invariant -- --exact --nocapture

## Breaks the allocators' cluster on purpose, one rule at a time: the simulation must find each.
sim-faults:
	.ci/sim-faults

## Installs PostgreSQL and Redis for the tests, or says what to install.
tools:
	.ci/tools

## Starts the whole fleet with Docker: compose/README.md.
up:
	compose/up

## Stops it; its data stays.
down:
	compose/down

## Starts a fleet of its own, breaks it in every way it should survive, and says what users would have seen.
smoke:
	compose/smoke

## Tries every load scenario for some seconds each on a node of its own, and checks each answer.
loadtest:
	.ci/loadtest

## Writes docs/openapi.json from the code.
openapi:
	cargo run --quiet --bin stint -- openapi > docs/openapi.json

## Writes docs/metrics.md from the code.
metrics:
	STINT_WRITE_DOCS=1 cargo test --quiet -p stint --test it the_committed_page_of_metrics

## Measures drawing ids and making codes. A bench, never a test.
bench:
	cargo bench -p stint-idgen

## Measures redirects and creates over HTTP, beside nginx.
bench-http:
	.ci/bench

## Measures grants beside etcd, the gap when a leader dies, and a thousand holders. Needs etcd (Debian: etcd-server).
bench-cluster:
	cargo bench -p stint --bench cluster -- $(or $(SECONDS),10) $(or $(CLIENTS),64) $(PARTS)

## Breaks a real cluster under load in every way it should survive, several times each: at most ten minutes.
chaos: tools
	cargo build --bin stint --example chaos
	cargo run --quiet --example chaos

## Each of those faults once: at most two minutes.
chaos-short: tools
	cargo build --bin stint --example chaos
	cargo run --quiet --example chaos -- --short

## Feeds damaged bytes to the decoders, a minute each.
fuzz:
	.ci/fuzz
