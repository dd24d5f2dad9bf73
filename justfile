# Everything a person types. `just` alone lists the recipes; `just` itself: `cargo install just`,
# or `.ci/tools python`, which puts it into target/tools/venv/bin.

venv := "target/tools/venv/bin"

_default:
    @just --list

# Start the service on http://127.0.0.1:8000
run *args:
    cargo run -p task-api -- {{ args }}

# Run all tests
test:
    .ci/test

# Format the code
fmt:
    cargo fmt --all

# The quick checks: format, lints, documentation
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --document-private-items

# Spelling and shell scripts
lint:
    .ci/tools python
    {{ venv }}/typos
    {{ venv }}/shellcheck .ci/run .ci/tools .ci/coverage .ci/deny .ci/openapi .ci/deploy .ci/test .githooks/pre-commit

# Check the dependencies' versions, features, licences and sources
deny:
    .ci/deny

# Check the dependencies for published advisories; needs a network
advisories:
    .ci/deny advisories

# Run the tests with coverage, e.g. `just coverage --html`
coverage *args:
    .ci/coverage {{ args }}

# Measure the release binary against the database alone, e.g. `just bench --store sqlite --only w3,w7`
bench *args:
    sh crates/testkit/src/servers/install.sh wrk:wrk postgres:postgresql psql:postgresql pgbench:postgresql redis-server:redis-server
    cargo build --quiet --release --locked -p task-api
    cargo run --quiet --release --locked -p bench -- {{ args }}

# The same in three minutes, once it is built: figures to look at, not to keep
bench-quick *args: (bench "--quick" args)

# Time single calls and count their allocations, e.g. `just bench-micro token`
bench-micro *args:
    cargo bench --quiet --locked -p bench --bench micro -- {{ args }}

# Generate openapi.json from the code
openapi:
    cargo build --quiet --locked -p task-api
    cargo run --quiet --locked -p task-api -- openapi > openapi.json

# Validate openapi.json and test a running service against it
contract:
    .ci/openapi

# Change the database's schema: `just migrate up`, `down`, `status`
migrate *args:
    cargo run -p task-api -- migrate {{ args }}

# What the service needs beside itself
services:
    @echo "Nothing: by default tasks are stored in data/tasks.db, and limits are kept in the process."

# Everything that CI runs
ci:
    .ci/run

# Install the pre-commit hook
hooks:
    git config core.hooksPath .githooks

# Delete the data of the development service
[confirm("Delete the folder data with all tasks in it? [y/N]")]
clean-data:
    rm -rf data
