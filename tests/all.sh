#!/usr/bin/env bash
# Runs every test. On Debian it first installs the programs that some of them talk to.
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A packages=([curl]=curl [oathtool]=oathtool [zbarimg]=zbar-tools [rsvg-convert]=librsvg2-bin [python3]=python3-venv
    [openssl]=openssl [chromium]=chromium [chromedriver]=chromium-driver [valgrind]=valgrind)
missing=()
for program in "${!packages[@]}"; do
    command -v "$program" >/dev/null || missing+=("${packages[$program]}")
done
if [ ${#missing[@]} -gt 0 ]; then
    if ! command -v apt-get >/dev/null; then
        echo "please install: ${missing[*]} (Debian's names)" >&2
        exit 1
    fi
    root=()
    [ "$(id -u)" = 0 ] || root=(sudo)
    "${root[@]}" apt-get update -q
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "${missing[@]}"
fi

# An authenticator and an OAuth client of other authors, in an environment of their own.
python=target/pyotp/bin/python
if ! "$python" -c 'import pyotp, requests_oauthlib' 2>/dev/null; then
    python3 -m venv --clear target/pyotp
    target/pyotp/bin/pip install --quiet --disable-pip-version-check pyotp==2.12.1 requests-oauthlib==2.0.0
fi

# A program that is missing now is a failure, not a skipped test.
export REQUIRE_TOOLS=1
export PYOTP_PYTHON="$PWD/$python"
cargo test --all-targets
cargo test --doc
# What a request costs, in instructions, since no clock of a shared machine can tell.
benches/instructions/check.sh
echo "all tests passed"
