#!/usr/bin/env bash
# Fails for a line of Rust over the width in rustfmt.toml (rustfmt does not change comments and strings), and for a source
# file of more than 250 lines without its tests.
set -uo pipefail
cd "$(dirname "$0")/.."

width=$(sed -n 's/^max_width = //p' rustfmt.toml)
git ls-files '*.rs' | xargs awk -v width="$width" '
    length > width { printf "%s:%d: %d columns\n", FILENAME, FNR, length; failed = 1 }
    END { exit failed }'
wide=$?

git ls-files 'src/*.rs' 'toopher-*/src/*.rs' | xargs awk -v max=250 '
    FNR == 1 { tests = 0 }
    /^#\[cfg\(test\)\]/ { tests = 1 }
    !tests { lines[FILENAME]++ }
    END {
        for (file in lines) if (lines[file] > max) { printf "%s: %d lines\n", file, lines[file]; failed = 1 }
        exit failed
    }'
exit $((wide + $?))
