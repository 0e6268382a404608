#!/usr/bin/env bash
# Runs every test. On Debian it first installs the programs that some of them talk to.
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A packages=([curl]=curl [oathtool]=oathtool [zbarimg]=zbar-tools [rsvg-convert]=librsvg2-bin [python3]=python3-venv
    [openssl]=openssl [redis-server]=redis-server [chromium]=chromium [chromedriver]=chromium-driver
    [nginx]=nginx [valgrind]=valgrind)
# Where this system knows it.
if apt-cache show valkey-server >/dev/null 2>&1; then
    packages[valkey-server]=valkey-server
fi
# Where Debian puts servers, which is on root's path only.
PATH="$PATH:/usr/sbin"
missing=()
for program in "${!packages[@]}"; do
    command -v "$program" >/dev/null || missing+=("${packages[$program]}")
done
# Debian keeps the programs of PostgreSQL's server out of the path.
if ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && ! command -v initdb >/dev/null; then
    missing+=(postgresql)
fi
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
# The server's own tests once more, on the other database.
TEST_DATABASE=postgres cargo test --test server_api --test server_audit --test server_web --test server_numbers
# And with failures and spent codes in Redis.
TEST_GUARD=redis cargo test --test server_api --test server_audit --test server_web --test server_numbers
cargo test --doc
# Debian has Valkey since 13, and in the backports of 12.
if command -v valkey-server >/dev/null; then
    REDIS_SERVER=valkey-server cargo test --test 'redis*'
else
    echo "the store in Redis was not tried with Valkey, which is not installed"
fi
# What a request costs, in instructions, since no clock of a shared machine can tell.
benches/instructions/check.sh
echo "all tests passed"
