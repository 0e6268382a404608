#!/usr/bin/env bash
# The packages as they would be published: their archives are complete, and compile together without the workspace.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/tools.sh

packages=$(published)
target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
rm -rf "$target"/package/*.crate "$target/packages"
cargo package --quiet --allow-dirty --no-verify $packages

# The verification of `cargo package` would build all dependencies once more for each package, as `cargo publish` does.
mkdir -p "$target/packages"
for archive in "$target"/package/*.crate; do
    tar -xzf "$archive" -C "$target/packages"
done
cp Cargo.lock "$target/packages"
{
    printf '[workspace]\nresolver = "3"\nmembers = ["*-*"]\n[patch.crates-io]\n'
    for folder in "$target"/packages/*/; do
        name=$(basename "$folder")
        echo "${name%-*} = { path = \"$name\" }"
    done
    sed -n '/^\[profile.dev\]/,/^$/p' Cargo.toml
} >"$target/packages/Cargo.toml"
CARGO_TARGET_DIR=$target cargo check --quiet --all-features --manifest-path "$target/packages/Cargo.toml" --workspace
