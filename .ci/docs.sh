#!/usr/bin/env bash
# The documentation without warnings: as docs.rs builds it, with all features, and without features.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/tools.sh

packages=$(published)
RUSTDOC="$PWD/.ci/rustdoc-unstable" RUSTDOCFLAGS="-D warnings --cfg docsrs" \
    cargo doc --quiet --no-deps --all-features $packages
RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps --no-default-features -p tower-toopher
