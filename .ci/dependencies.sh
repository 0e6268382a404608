#!/usr/bin/env bash
# Licenses, sources, bans and advisories of the dependencies (deny.toml).
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/tools.sh

cargo_tool cargo-deny
cargo deny --log-level error check bans licenses sources
# The advisories are a repository on GitHub.
if git ls-remote --quiet https://github.com/rustsec/advisory-db HEAD >/dev/null 2>&1; then
    cargo deny check advisories
else
    echo "advisories: not checked, because their repository is not reachable"
fi
