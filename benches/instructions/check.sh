#!/usr/bin/env bash
# Counts the instructions of the crate's main paths under callgrind, and compares them with budget.txt: exact where
# clocks on shared machines are not. `check.sh --update` writes the budget anew instead.
set -euo pipefail
cd "$(dirname "$0")"

tolerance=5 # per cent, for other releases of the C library and of the compiler
few=100
many=600
target=../../target/instructions

cargo build --quiet --release --target-dir "$target"

# The instructions of a whole run.
count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$target/release/instructions" "$1" "$2" 2>&1 |
        awk '/Collected :/ { print $4 }'
}

# What one time costs: between two runs nothing else differs.
measure() {
    local low high
    low=$(count "$1" $few)
    high=$(count "$1" $many)
    [ -n "$low" ] && [ -n "$high" ] || { echo "$1 could not be counted" >&2; return 1; }
    echo $(((high - low) / (many - few)))
}

if [ "${1-}" = --update ]; then
    {
        echo "# Instructions of one time through each path, with $(rustc --version | cut -d' ' -f1-2) on $(uname -m)."
        for path in granted refused skipped form long_form totp_right totp_wrong sign check; do
            echo "$path $(measure $path)"
        done
    } >budget.new
    mv budget.new budget.txt
    exit
fi

failed=0
while read -r path budget; do
    measured=$(measure "$path")
    limit=$((budget + budget * tolerance / 100))
    printf '%-12s %8d instructions, budget %8d' "$path" "$measured" "$budget"
    if [ "$measured" -gt "$limit" ]; then
        echo ": over it by more than $tolerance %"
        failed=1
    elif [ "$measured" -lt $((budget - budget * tolerance / 100)) ]; then
        echo ": well under it; please lower the budget"
    else
        echo
    fi
done < <(grep -v '^#' budget.txt)
exit $failed
