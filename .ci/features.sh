#!/usr/bin/env bash
# The published packages without features and with each feature alone, and the unit tests of tower-toopher in the same way.
# With all features, `lint.sh`, `docs.sh` and `tests/all.sh` build everything.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/tools.sh

cargo_tool cargo-hack
each=(--quiet --each-feature --exclude-all-features)
cargo hack clippy "${each[@]}" -p tower-toopher -p toopher-server -p toopher-oauth1 --lib -- -D warnings
# It needs one of its features.
cargo hack clippy "${each[@]}" --exclude-no-default-features -p toopher-sql --lib -- -D warnings
cargo hack test "${each[@]}" -p tower-toopher --lib
