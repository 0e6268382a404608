#!/usr/bin/env bash
# Measures servers over loopback with wrk. Each figure is of a new server process. The server and wrk share the
# processors. The CPU time is that of the server process, which includes the API where one is called.
#
# Usage: [CONNECTIONS="1 64"] benches/load.sh [SECONDS]
#   SECONDS        the duration of each measurement, 3 by default
#   CONNECTIONS    the numbers of connections, "1 8 64 256" by default
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1-3}
command -v wrk >/dev/null || { echo "wrk is not installed" >&2; exit 1; }

program=$(cargo build --release --package tower-toopher-benches --features full --bin load \
    --message-format json-render-diagnostics | sed -n 's/.*"executable":"\([^"]*\/load\)".*/\1/p')
dir=$(mktemp -d)
pid=
finish() {
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
    rm -rf "$dir"
}
trap finish EXIT

# cpu PID: prints the clock ticks that a process has used.
cpu() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }
hz=$(getconf CLK_TCK)

# measure MODE USERS CONNECTIONS: prints one row.
measure() {
    # Each server has its own key, so it cannot open the database of the server before.
    rm -f "$dir"/*
    "$program" "$1" "$dir/requests" "$2" >"$dir/port" &
    pid=$!
    for _ in $(seq 600); do
        [ -s "$dir/port" ] && break
        sleep 0.1
    done
    local port before after
    port=$(<"$dir/port")
    before=$(cpu "$pid")
    wrk --threads 1 --connections "$3" --duration "${seconds}s" --script benches/wrk.lua \
        "http://127.0.0.1:$port/" -- "$dir/requests" >"$dir/out"
    after=$(cpu "$pid")
    kill "$pid"
    wait "$pid" 2>/dev/null || true
    pid=
    awk -v mode="$1" -v connections="$3" -v ticks=$((after - before)) -v hz="$hz" '
        /^RESULT/ {
            printf "%-18s %4d %9.0f req/s %8.2f ms %8.2f ms %7.1f us CPU", mode, connections, $2 / $3, $4 / 1000,
                $5 / 1000, ticks / hz / $2 * 1e6
            if ($6 + $7 > 0) printf "  (%d refused, %d broken)", $6, $7
            print ""
        }' "$dir/out"
}

echo "mode               conn                  median      99th     per request"
for connections in ${CONNECTIONS-1 8 64 256}; do
    for mode in bare authorization layer-header layer-form layer-and-10k-held; do
        measure $mode 150000 "$connections"
    done
    for mode in bare-reqwest layer-reqwest bare-hyper layer-hyper; do
        measure $mode 20000 "$connections"
    done
    for mode in server-reqwest server-hyper server-in-memory server-on-file; do
        measure $mode 1500 "$connections"
    done
done
