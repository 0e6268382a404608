#!/usr/bin/env bash
# Misspelled words, in text and in names; _typos.toml has the exceptions.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/tools.sh

python_tool typos==1.52.0
target/python/bin/typos
