#!/usr/bin/env bash
# Puts real servers under load over loopback with wrk: `benches/load.sh [SECONDS]`, 3 by default for each figure.
#
# Each figure is of a server of its own, which is ended by its process id. What is measured shares its processors with
# wrk. CPU is that of the serving process, the API included where it stands in front of one.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1-3}
command -v wrk >/dev/null || { echo "please install wrk" >&2; exit 1; }

server=$(cargo bench --bench load --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"name":"load".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
[ -x "$server" ] || { echo "the servers could not be built" >&2; exit 1; }
dir=$(mktemp -d)
pid=
finish() {
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
    rm -rf "$dir"
}
trap finish EXIT

cpu() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }
hz=$(getconf CLK_TCK)

# measure MODE USERS CONNECTIONS
measure() {
    # The database of an earlier one, too, whose key nobody has any more.
    rm -f "$dir"/*
    "$server" "$1" "$dir/requests" "$2" >"$dir/port" &
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
    for mode in bare authorization gate-header gate-form gate-and-10k-held; do
        measure $mode 150000 $connections
    done
    for mode in bare-reqwest gate-reqwest bare-hyper gate-hyper; do
        measure $mode 20000 $connections
    done
    for mode in server-reqwest server-hyper server-in-memory server-on-file; do
        measure $mode 1500 $connections
    done
done
