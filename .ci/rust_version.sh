#!/usr/bin/env bash
# The stated rust-version holds for each published package and its dependencies. Where that toolchain is installed, it
# also compiles them.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/tools.sh

cargo metadata --format-version 1 --all-features | python3 .ci/rust_version.py

minimum=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
if command -v rustup >/dev/null && rustup toolchain list | grep -q "^$minimum"; then
    packages=$(published)
    CARGO_TARGET_DIR="target/rust-$minimum" cargo "+$minimum" check --quiet --all-features $packages
else
    echo "Rust $minimum is not installed, so it did not compile the packages"
fi
