"""Reads `cargo metadata` and fails if a dependency of the library wants a newer Rust than the library states."""

import json
import sys

metadata = json.load(sys.stdin)
packages = {package["id"]: package for package in metadata["packages"]}
nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
root = metadata["resolve"]["root"]


def version(package):
    stated = package.get("rust_version") or "0"
    return [int(part) for part in stated.split(".")] + [0] * (2 - stated.count("."))


seen, todo = set(), [root]
while todo:
    current = todo.pop()
    if current in seen:
        continue
    seen.add(current)
    for dependency in nodes[current]["deps"]:
        if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
            todo.append(dependency["pkg"])

newer = [packages[id] for id in seen if version(packages[id]) > version(packages[root])]
for package in newer:
    print(f"{package['name']} {package['version']} wants Rust {package['rust_version']}")
print(f"{len(seen)} packages, rust-version {packages[root]['rust_version']}")
sys.exit(1 if newer else 0)
