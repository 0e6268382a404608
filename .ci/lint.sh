#!/usr/bin/env bash
# Clippy on every target of every package.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo clippy --quiet --workspace --all-targets --all-features -- -D warnings
