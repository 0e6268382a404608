#!/usr/bin/env bash
# Runs every test. On Debian it first installs the programs that some of them use.
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A packages=([curl]=curl [oathtool]=oathtool [zbarimg]=zbar-tools [rsvg-convert]=librsvg2-bin
    [openssl]=openssl [redis-server]=redis-server [chromium]=chromium [chromedriver]=chromium-driver [nginx]=nginx
    [valgrind]=valgrind [strace]=strace)
# Older releases of Debian have no Valkey.
if apt-cache show valkey-server >/dev/null 2>&1; then
    packages[valkey-server]=valkey-server
fi
# Debian's servers are in /usr/sbin, which only root has in its path.
PATH="$PATH:/usr/sbin"
missing=()
for program in "${!packages[@]}"; do
    command -v "$program" >/dev/null || missing+=("${packages[$program]}")
done
# Debian has the programs of PostgreSQL's server in a directory outside the path.
if ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && ! command -v initdb >/dev/null; then
    missing+=(postgresql)
fi
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
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

# An independent authenticator and an independent OAuth client, in a virtual environment.
python=target/pyotp/bin/python
if ! "$python" -c 'import pyotp, requests_oauthlib' 2>/dev/null; then
    python3 -m venv --clear target/pyotp
    target/pyotp/bin/pip install --quiet --disable-pip-version-check pyotp==2.12.1 requests-oauthlib==2.0.0
fi

# The rules of axe-core, in a package of Python that contains them: the rest of it is not used.
axe=target/pyotp/axe/axe_playwright_python/axe.min.js
if [ ! -f "$axe" ]; then
    target/pyotp/bin/pip install --quiet --disable-pip-version-check --no-deps --target target/pyotp/axe \
        axe-playwright-python==0.1.8
fi

# A program that is missing now is a failure, not a skipped test.
export REQUIRE_TOOLS=1
export PYOTP_PYTHON="$PWD/$python"
export AXE_JS="$PWD/$axe"
# Nothing here is built twice, and test programs build a third faster without it.
export CARGO_INCREMENTAL=0

run() {
    printf '\n== %s\n' "$*"
    env "$@"
}

# Many tests wait for programs that they started.
export RUST_TEST_THREADS=$(($(nproc) * 2))

# One set of features for all of these, so that each package is built once.
all=(cargo test --workspace --all-features --no-fail-fast)
run "${all[@]}"
# The server's tests with the other database, and with failures and used codes in Redis. The modules that are left out
# start programs or choose their database, so they would only repeat themselves.
other=(--test api --test audit --)
for module in connections files load postgres postgres_processes process program redis same_address signals; do
    other+=(--skip "$module::")
done
run TEST_DATABASE=postgres "${all[@]}" "${other[@]}"
run TEST_FAILURE_STORE=redis "${all[@]}" "${other[@]}"
# Debian has Valkey since 13, and in the backports of 12.
if command -v valkey-server >/dev/null; then
    run REDIS_SERVER=valkey-server "${all[@]}" --test suite redis
else
    echo "Valkey is not installed, so the Redis store was tested with Redis only"
fi
# The default features.
run cargo test -p tower-toopher --features test-util --lib --test suite
# Instruction counts of the main paths, which are exact where times on a shared machine are not.
run benches/instructions.sh
echo "all tests passed"
