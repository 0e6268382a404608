#!/usr/bin/env bash
# Counts the instructions of the main paths under callgrind and compares them with instructions-budget.txt. Unlike times
# on a shared machine, the counts are exact.
#
# Usage: benches/instructions.sh [--update]
#   --update    writes the counts to instructions-budget.txt instead
set -euo pipefail
cd "$(dirname "$0")"

tolerance=5 # percent, for other versions of the C library and of the compiler
paths="granted refused skipped form long_form totp_right totp_wrong sign check"
few=100
many=600
command -v valgrind >/dev/null || { echo "valgrind is not installed" >&2; exit 1; }
program=$(cargo build --quiet --profile instructions --package tower-toopher-benches --bin instructions \
    --message-format json-render-diagnostics | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')

# count PATH COUNT: prints the instructions of a whole run.
count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>&1 |
        awk '/Collected :/ { print $4 }'
}

# measure PATH: prints the instructions of one repetition. Two runs differ in nothing else.
measure() {
    local low high
    low=$(count "$1" $few)
    high=$(count "$1" $many)
    [ -n "$low" ] && [ -n "$high" ] || { echo "$1: the program failed under callgrind" >&2; return 1; }
    echo $(((high - low) / (many - few)))
}

if [ "${1-}" = --update ]; then
    {
        echo "# Instructions of one repetition of each path, with $(rustc --version | cut -d' ' -f1-2) on $(uname -m)."
        for path in $paths; do
            echo "$path $(measure "$path")"
        done
    } >instructions-budget.new
    mv instructions-budget.new instructions-budget.txt
    exit
fi

failed=0
while read -r path budget; do
    measured=$(measure "$path")
    printf '%-12s %8d instructions, budget %8d' "$path" "$measured" "$budget"
    if [ "$measured" -gt $((budget + budget * tolerance / 100)) ]; then
        echo ": exceeds the budget by more than $tolerance %"
        failed=1
    elif [ "$measured" -lt $((budget - budget * tolerance / 100)) ]; then
        echo ": lower the budget (run benches/instructions.sh --update)"
    else
        echo
    fi
done < <(grep -v '^#' instructions-budget.txt)
exit $failed
