#!/usr/bin/env python3
"""Reads `cargo metadata` and fails if a dependency of a published package states a newer Rust than the package does."""

import json
import sys

metadata = json.load(sys.stdin)
packages = {package["id"]: package for package in metadata["packages"]}
nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}


def version(package):
    stated = package.get("rust_version") or "0"
    return [int(part) for part in stated.split(".")] + [0] * (2 - stated.count("."))


def needed_by(root):
    """The ids of `root` and of all that it builds, development dependencies aside."""
    seen, todo = set(), [root]
    while todo:
        current = todo.pop()
        if current not in seen:
            seen.add(current)
            deps = nodes[current]["deps"]
            todo += [d["pkg"] for d in deps if any(kind["kind"] != "dev" for kind in d["dep_kinds"])]
    return seen


failed = False
for root in metadata["workspace_members"]:
    package = packages[root]
    if package["publish"] == []:
        continue
    needed = needed_by(root)
    print(f"{package['name']}: rust-version {package['rust_version']}, {len(needed) - 1} dependencies")
    for newer in (packages[id] for id in needed if version(packages[id]) > version(package)):
        failed = True
        print(f"  {newer['name']} {newer['version']} states {newer['rust_version']}")
sys.exit(failed)
