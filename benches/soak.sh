#!/usr/bin/env bash
# Leaves a gate and `toopher-server` under hostile load, and says whether they grew: `benches/soak.sh [SECONDS]`, 600 by
# default. It fails if one of them did, or ended, or let in what it must not, or kept out what it must let in.
set -euo pipefail
cd "$(dirname "$0")/.."

soak=$(cargo bench --bench soak --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"name":"soak".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
[ -x "$soak" ] || { echo "the soak could not be built: cargo bench --bench soak --no-run" >&2; exit 1; }
exec "$soak" for "${1-600}"
