#!/usr/bin/env bash
# The format of the code, and the syntax of the scripts.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fmt --all --check
for script in .ci/run .ci/release $(git ls-files '*.sh'); do
    bash -n "$script"
done
