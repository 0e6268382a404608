#!/usr/bin/env bash
# The published packages compile with the lowest versions of their direct dependencies that their manifests allow.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/tools.sh

packages=$(published)
copy=target/minimal-versions
rm -rf "$copy/source"
mkdir -p "$copy/source"
git ls-files -z | xargs -0 cp --parents -t "$copy/source"
cd "$copy/source"
# Other packages and development dependencies would raise the versions.
python3 - <<"EOP"
import re
from pathlib import Path

root = Path("Cargo.toml")
text = root.read_text()
members = re.findall(r'^    "(toopher-[^"/]*)",$', text, re.M)
text = re.sub(r"^members = \[.*?^\]", f"members = {members}".replace("'", '"'), text, flags=re.M | re.S)
root.write_text(text)
for manifest in [root, *(Path(member, "Cargo.toml") for member in members)]:
    sections = re.split(r"(?m)^(?=\[)", manifest.read_text())
    kept = [s for s in sections if not s.startswith(("[dev-dependencies", "[[test]]", "[[bench]]", "[[example]]"))]
    manifest.write_text("".join(kept))
EOP
rm -f Cargo.lock
# An unstable option of cargo. Only this command gets the variable: a build with it would be another build.
RUSTC_BOOTSTRAP=1 cargo update --quiet -Z direct-minimal-versions
CARGO_TARGET_DIR=../build cargo check --quiet --all-features $packages
