#!/usr/bin/env bash
# `benches/all.sh [SECONDS]` measures everything in one go, into results.txt, and draws ratios.svg from it. It takes some
# ten minutes; nothing else should run meanwhile.
set -euo pipefail
cd "$(dirname "$0")/.."

with_default_features() {
    cargo bench --quiet --manifest-path benches/default_features/Cargo.toml --target-dir target "$@"
}

with_default_features --no-run
cargo bench --quiet --no-run --bench gate --bench totp --bench form --bench oauth1 --bench stores --bench load
{
    date -u +%F
    rustc --version | cut -d' ' -f1-2
    echo "$(nproc) processors: $(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1)"
    awk '/MemTotal/ { printf "%.0f GiB of memory\n", $2 / 1048576 }' /proc/meminfo
    echo "load before: $(cut -d' ' -f1 /proc/loadavg)"
    for package in axum governor hyper-util moka oauth1-request reqwest totp-rs tower tower-http; do
        awk -F'"' -v package="$package" '/^name/ { name = $2 } /^version/ && name == package { print name, $2 }' Cargo.lock
    done
    echo
    echo "# with the default features"
    for bench in gate totp; do
        with_default_features --bench $bench
    done
    echo
    echo "# with all features"
    for bench in gate totp form oauth1 stores; do
        cargo bench --quiet --bench $bench
    done
    echo
    echo "## servers under load"
    echo
    benches/load.sh "${1-3}"
    echo
    echo "load after: $(cut -d' ' -f1 /proc/loadavg)"
} | tee benches/results.txt
python3 benches/plot.py benches/results.txt benches/ratios.svg
