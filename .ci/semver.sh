#!/usr/bin/env bash
# The public API against the last tag: no change that its version does not allow.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/tools.sh

if ! last=$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null); then
    echo "no release yet to compare with"
    exit
fi
cargo_tool cargo-semver-checks
packages=$(published)
cargo semver-checks --all-features --baseline-rev "$last" $packages
