#!/usr/bin/env bash
# The map in CONTRIBUTING.md names each folder of code, and no folder that does not exist.
set -euo pipefail
cd "$(dirname "$0")/.."

listed=$(sed -n '/^## Map$/,/^## /p' CONTRIBUTING.md | sed -n 's/^\([a-z.][^ ]*\)  .*/\1/p' | sort)
failed=0
for folder in $listed; do
    [ -d "$folder" ] || { echo "CONTRIBUTING.md lists $folder, which does not exist"; failed=1; }
done

# Folders of the top level; below src and the packages, those that contain Rust.
folders=$(
    git ls-files | sed -n 's|^\([^/]*\)/.*|\1|p' | grep -v '^tests$'
    git ls-files 'src/*.rs' 'toopher-server/src/*.rs' 'tests/*/*.rs' | xargs dirname |
        sed 's|^\(tests/[a-z]*\)/.*|\1|; s|^\(toopher-server/src/bin\)/.*|\1|'
)
for folder in $(sort -u <<<"$folders"); do
    grep -qx "$folder" <<<"$listed" || { echo "CONTRIBUTING.md does not list $folder"; failed=1; }
done
exit $failed
