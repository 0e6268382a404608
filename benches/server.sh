#!/usr/bin/env bash
# Measures toopher-server beside the toopher-server of another commit: the program, over loopback, under wrk. The
# servers and wrk share the processors. Each figure is of a new process and a new database.
#
# Usage: [CONNECTIONS="1 64"] [USERS=8000] benches/server.sh COMMIT [SECONDS]
#   COMMIT         the other commit, which is built in target/other
#   SECONDS        the duration of each measurement, 5 by default
#   CONNECTIONS    the numbers of connections, "1 64" by default
#   USERS          the number of users; there are four codes of each
set -euo pipefail
cd "$(dirname "$0")/.."

commit=${1?"usage: benches/server.sh COMMIT [SECONDS]"}
seconds=${2-5}
users=${USERS-8000}
command -v wrk >/dev/null || { echo "wrk is not installed (on Debian: apt-get install wrk)" >&2; exit 1; }

build() {
    cargo build --release --quiet --package toopher-server --message-format json-render-diagnostics |
        sed -n 's/.*"executable":"\([^"]*\/toopher-server\)".*/\1/p'
}
new=$(build)
other_tree=target/other/tree
git worktree remove --force "$other_tree" 2>/dev/null || true
git worktree add --quiet --detach "$other_tree" "$commit"
old=$(cd "$other_tree" && CARGO_TARGET_DIR="$PWD/../build" build)
git worktree remove --force "$other_tree"

dir=$(mktemp -d)
pid= cluster=
finish() {
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
    [ -z "$cluster" ] || stop_postgres
    rm -rf "$dir"
}
trap finish EXIT

# The programs of PostgreSQL's server. They refuse to run as root.
postgres_bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -1 || true)
as_postgres() {
    if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; else "$@"; fi
}
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
start_postgres() {
    cluster=$dir/postgres
    mkdir "$cluster"
    chmod 755 "$dir"
    [ "$(id -u)" != 0 ] || chown postgres "$cluster"
    as_postgres "$postgres_bin/initdb" -D "$cluster/data" -U postgres -A trust >/dev/null
    postgres_port=$(free_port)
    as_postgres "$postgres_bin/pg_ctl" -D "$cluster/data" -l "$cluster/log" -w \
        -o "-p $postgres_port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$cluster" start >/dev/null
}
stop_postgres() {
    as_postgres "$postgres_bin/pg_ctl" -D "$cluster/data" -m immediate stop >/dev/null || true
    cluster=
}

# start PROGRAM DATABASE: starts a server with a requester, and prepares the users. DATABASE is empty for one in memory.
start() {
    address=127.0.0.1:$(free_port)
    local key=bench secret=secret
    if [ -z "$2" ]; then
        TOOPHER_CONSUMER_KEY=$key TOOPHER_CONSUMER_SECRET=$secret TOOPHER_BASE_URL="http://$address/v1" \
            "$1" serve --demo --listen "$address" >/dev/null 2>"$dir/log" &
    else
        local options=(--database "$2" --key-file "$dir/key")
        rm -f "$dir/key"
        "$1" key --out "$dir/key"
        "$1" "${options[@]}" requester create bench >"$dir/requester"
        { read -r key; read -r secret; } < <(sed -n 's/.*\(KEY\|SECRET\|key\|secret\)[=:] *//p' "$dir/requester")
        "$1" "${options[@]}" serve --listen "$address" 2>"$dir/log" &
    fi
    pid=$!
    for _ in $(seq 100); do
        curl --silent --fail --output /dev/null "http://$address/readyz" && break
        sleep 0.1
    done
    benches/server_calls.py "$address" "$key" "$secret" "$users" "$dir/calls"
}
stop() {
    kill "$pid"
    wait "$pid" 2>/dev/null || true
    pid=
}

# load CONNECTIONS CALLS: prints requests per second, the median, the 99th percentile, and what failed.
load() {
    wrk --threads 1 --connections "$1" --duration "${seconds}s" --script benches/wrk.lua "http://$address/" -- "$2" |
        awk '/^RESULT/ { printf "%.0f %.2f %.2f %d\n", $2 / $3, $4 / 1000, $5 / 1000, $6 + $7 }'
}

# measure NAME DATABASE: prints the rows of both programs.
measure() {
    for connections in ${CONNECTIONS-1 64}; do
        for calls in calls calls.status; do
            local results=()
            for program in "$old" "$new"; do
                rm -f "$dir"/database*
                if [ "$1" = postgresql ]; then
                    psql --quiet --host 127.0.0.1 --port "$postgres_port" --username postgres \
                        --command 'DROP DATABASE IF EXISTS bench' --command 'CREATE DATABASE bench'
                fi
                start "$program" "$2"
                results+=("$(load "$connections" "$dir/$calls")")
                stop
            done
            awk -v name="$1" -v calls="${calls/calls.status/status}" -v connections="$connections" \
                -v old="${results[0]}" -v new="${results[1]}" 'BEGIN {
                split(old, o); split(new, n); sub(/^calls$/, "initiate", calls)
                printf "%-11s %-9s %4d %7d req/s %8.2f ms %8.2f ms  ->  %7d req/s %8.2f ms %8.2f ms  x%.1f",
                    name, calls, connections, o[1], o[2], o[3], n[1], n[2], n[3], n[1] / o[1]
                if (o[4] + n[4] > 0) printf "  (failed: %d, %d)", o[4], n[4]
                print ""
            }'
        done
    done
}

echo "database    calls     conn  $commit: median and 99th percentile      ->  here                         "
measure memory ""
measure file "$dir/database.sqlite"
if [ -n "$postgres_bin" ]; then
    start_postgres
    measure postgresql "postgres://postgres@127.0.0.1:$postgres_port/bench"
    stop_postgres
else
    echo "PostgreSQL is not installed, so it was not measured"
fi
