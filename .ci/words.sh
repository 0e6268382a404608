#!/usr/bin/env bash
# Fails where a text uses a word of the list below, which plain technical English does without (CONTRIBUTING.md, "Sentences").
# Of Rust it reads the comments; of everything else, all lines.
set -euo pipefail
cd "$(dirname "$0")/.."

words='whoever|nobody|somebody|anybody|everybody|of earlier|told|tells|hears?|heard|trouble|rings?|waited for|(is|are) over|anew'
words+='|at the most|by itself|made up|for ever|taken? back|takes back'

failed=0
report() {
    if [ -n "$1" ]; then
        printf '%s\n' "$1"
        failed=1
    fi
}

# `//` behind a colon is an address, not a comment.
report "$(git grep -nIiP "(^|[^:])//.*\b($words)\b" -- '*.rs' || true)"
report "$(git grep -nIiP "\b($words)\b" -- '*.md' '*.toml' '*.yml' '*.sql' '*.lua' '*.sh' '*.py' '*.js' '*.css' '*.html' \
    '.ci/run' '.ci/release' ':!.ci/words.sh' || true)"
exit $failed
