#!/usr/bin/env bash
# Measures everything except the soak and the instruction counts in one go, writes results.txt, and draws ratios.svg. It
# takes about ten minutes. No other program should run at the same time.
#
# Usage: benches/all.sh [SECONDS]
#   SECONDS    the duration of each measurement of load.sh, 3 by default
set -euo pipefail
cd "$(dirname "$0")/.."

bench() {
    cargo bench --quiet --package tower-toopher-benches "$@"
}

bench --no-run --bench layer --bench totp
bench --no-run --features full
cargo build --quiet --release --package tower-toopher-benches --features full --bin load
{
    date -u +%F
    rustc --version | cut -d' ' -f1-2
    echo "$(nproc) processors: $(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1)"
    awk '/MemTotal/ { printf "%.0f GiB of memory\n", $2 / 1048576 }' /proc/meminfo
    echo "load before: $(cut -d' ' -f1 /proc/loadavg)"
    for package in axum governor hyper-util moka oauth1-request reqwest totp-rs tower tower-http; do
        awk -F'"' -v package="$package" \
            '/^name/ { name = $2 } /^version/ && name == package { print name, $2 }' Cargo.lock
    done
    echo
    echo "# with the default features"
    for bench in layer totp; do
        bench --bench $bench
    done
    echo
    echo "# with all features"
    for bench in layer totp form oauth1 stores; do
        bench --features full --bench $bench
    done
    echo
    echo "## servers under load"
    echo
    benches/load.sh "${1-3}"
    echo
    echo "load after: $(cut -d' ' -f1 /proc/loadavg)"
} | tee benches/results.txt
python3 benches/plot.py benches/results.txt benches/ratios.svg
