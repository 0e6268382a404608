#!/usr/bin/env python3
"""Lists the types and traits of other crates in the public API of each published package.

A new major version of such a crate is a breaking change here. Fails if the list differs from docs/foreign-types.txt;
`--update` writes that file. It reads the JSON of rustdoc, whose format is unstable: see rustdoc-unstable.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

LIST = Path("docs/foreign-types.txt")
HEAD = """# Types and traits of other crates in the public API, with all features: a new major version of one of these crates is a
# breaking change here. `.ci/foreign_types.py --update` writes this file.
"""
OWN = {"std", "core", "alloc"}


def output(*command, **variables):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, env={**os.environ, **variables})
    if done.returncode != 0:
        sys.exit(f"failed: {' '.join(command)}")
    return done.stdout


def names(value):
    """The ids of types and traits that a part of an item names."""
    if isinstance(value, dict):
        if "id" in value and "path" in value and "args" in value:
            yield str(value["id"])
        for key, part in value.items():
            if key not in ("docs", "links", "attrs"):
                yield from names(part)
    elif isinstance(value, list):
        for part in value:
            yield from names(part)


def public(item):
    """Whether other crates can use an item. Implementations that the compiler generates are not counted."""
    if item["crate_id"] != 0 or item["visibility"] not in ("public", "default"):
        return False
    implementation = item["inner"].get("impl")
    return implementation is None or not (implementation["is_synthetic"] or implementation["blanket_impl"])


def document(packages):
    """Writes the JSON of the packages in one command, so that their dependencies are checked once, and as `docs.sh` does."""
    output("cargo", "doc", "--quiet", "--no-deps", "--lib", "--all-features",
           *(option for package in packages for option in ("-p", package)),
           RUSTDOC=str(Path(".ci/rustdoc-unstable").resolve()),
           RUSTDOCFLAGS="--cap-lints allow -Z unstable-options --output-format json")


def foreign(package, workspace, target):
    doc = json.loads(Path(target, "doc", package.replace("-", "_") + ".json").read_text())
    found = set()
    for item in doc["index"].values():
        if not public(item):
            continue
        for id in names(item["inner"]):
            summary = doc["paths"].get(id)
            if summary is None or summary["crate_id"] == 0:
                continue
            crate = doc["external_crates"][str(summary["crate_id"])]["name"]
            if crate not in OWN | workspace and "__private" not in summary["path"]:
                found.add("::".join(summary["path"]))
    return sorted(found)


metadata = json.loads(output("cargo", "metadata", "--format-version", "1", "--no-deps"))
published = [package["name"] for package in metadata["packages"] if package["publish"] != []]
workspace = {name.replace("-", "_") for name in published}
document(published)
text = HEAD
for package in published:
    found = foreign(package, workspace, metadata["target_directory"])
    text += f"\n{package}\n" + "".join(f"    {name}\n" for name in found)

if "--update" in sys.argv:
    LIST.write_text(text)
elif text != (LIST.read_text() if LIST.exists() else ""):
    wanted, now = set(LIST.read_text().splitlines()) if LIST.exists() else set(), set(text.splitlines())
    for line in sorted(wanted ^ now):
        print(("no longer in the API:" if line in wanted else "new in the API:") + line)
    sys.exit(f"{LIST} differs from the API: see `.ci/foreign_types.py --update`")
else:
    print(f"{LIST} is up to date")
