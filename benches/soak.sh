#!/usr/bin/env bash
# Puts the layer and toopher-server under hostile load. Fails if a process grows or ends, if it grants a request that it
# must reject, or if it rejects a request that it must grant.
#
# Usage: benches/soak.sh [SECONDS]
#   SECONDS    the duration of the load, 600 by default
set -euo pipefail
cd "$(dirname "$0")/.."

program=$(cargo build --release --package tower-toopher-benches --features full --bin soak \
    --message-format json-render-diagnostics | sed -n 's/.*"executable":"\([^"]*\/soak\)".*/\1/p')
exec "$program" "${1-600}"
