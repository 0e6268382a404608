#!/usr/bin/env python3
"""Fails if two files of one crate import each other, directly or through others.

An import is a name that a file takes from another file by `use` or by a path (`crate::…`, `self::…`, `super::…`). A
re-export is followed to the file that defines the name, so a `mod.rs` that only re-exports takes part in no circle.
Modules under `#[cfg(test)]` are not read. Limits: calls of methods are not imports; `super` inside an inline module,
names from macros and `#[path]` are not resolved.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|r(?P<hashes>\#*)".*?"(?P=hashes)|b?"(?:\\.|[^"\\])*"|b?'(?:\\.[^']*|[^'\\])'""", re.S | re.X
)
DEFINED = re.compile(r"\b(?:struct|enum|union|trait|fn|const|static|type|macro_rules!)\s+(?:mut\s+)?(\w+)")
MODULE = re.compile(r"((?:#\[[^\]]*\]\s*)*)(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*([;{])")
USE = re.compile(r"\buse\s+([^;]+);")
PATH = re.compile(r"(?<![\w:$])(\w+)((?:\s*::\s*\w+)+)")


def block_end(text, start):
    """The index behind the block whose opening brace is at `start`."""
    depth = 0
    for index in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if depth == 0:
            return index + 1
    return len(text)


def without_tests(text):
    """The code without comments, literals and modules of tests."""
    text = TOKEN.sub(" ", text)
    position = 0
    while found := MODULE.search(text, position):
        position = found.end()
        if "cfg(test)" in found[1] and found[3] == "{":
            text = text[: found.start()] + text[block_end(text, found.end() - 1) :]
            position = found.start()
    return text


def leaves(tree, prefix=()):
    """The (path, bound name) pairs of a `use` tree."""
    tree = tree.strip()
    head, brace, rest = tree.partition("{")
    if brace:
        prefix += tuple(part.strip() for part in head.split("::") if part.strip())
        depth, item = 0, ""
        for letter in rest.rpartition("}")[0] + ",":
            depth += {"{": 1, "}": -1}.get(letter, 0)
            if letter == "," and depth == 0:
                if item.strip():
                    yield from leaves(item, prefix)
                item = ""
            else:
                item += letter
        return
    path, _, alias = tree.partition(" as ")
    path = prefix + tuple(part.strip() for part in path.split("::") if part.strip())
    if path[-1] == "self":
        path = path[:-1]
    yield path, (alias.strip() or path[-1])


class Crate:
    """The modules of one target, by their paths, and what each of them defines and imports."""

    def __init__(self, root):
        self.files, self.defined, self.bound, self.globs, self.text = {}, {}, {}, {}, {}
        self.read((), root, root.parent)

    def read(self, module, file, folder):
        text = without_tests(file.read_text())
        self.files[module], self.text[module] = file, text
        self.defined[module] = set(DEFINED.findall(text))
        self.bound[module], self.globs[module] = {}, []
        for tree in USE.findall(text):
            for path, name in leaves(tree):
                if name == "*":
                    self.globs[module].append(path[:-1])
                else:
                    self.bound[module][name] = path
        for attributes, name, end in MODULE.findall(text):
            if end == "{" or "cfg(test)" in attributes:
                continue
            for child, below in ((folder / f"{name}.rs", folder / name), (folder / name / "mod.rs", folder / name)):
                if child.exists():
                    self.read(module + (name,), child, below)

    def absolute(self, module, path):
        """The path from the crate's root, or `None` for a path into another crate."""
        if path[0] == "crate":
            return path[1:]
        at = module
        if path[0] == "self":
            return at + path[1:]
        if path[0] == "super":
            while path and path[0] == "super":
                at, path = at[:-1], path[1:]
            return at + path
        if at + path[:1] in self.files:
            return at + path
        target = self.bound[module].get(path[0])
        if target is None or target == path[:1] or target[0] == path[0]:
            return None
        base = self.absolute(module, target)
        return None if base is None else base + path[1:]

    def definition(self, path, seen=frozenset()):
        """The module whose file defines what `path` names."""
        if path in seen:
            return None
        seen |= {path}
        module = path
        while module not in self.files:
            module = module[:-1]
        if module == path:
            return module
        name = path[len(module)]
        if name in self.defined[module]:
            return module
        if name in self.bound[module]:
            base = self.absolute(module, self.bound[module][name])
            return None if base is None else self.definition(base + path[len(module) + 1 :], seen)
        for glob in self.globs[module]:
            base = self.absolute(module, glob)
            if base is not None and (found := self.definition(base + path[len(module) :], seen)):
                if found != base or name in self.defined[found]:
                    return found
        return module

    def imports(self):
        """What each file takes from other files, with one name as the example."""
        edges = {module: {} for module in self.files}
        for module, text in self.text.items():
            paths = [p for tree in re.findall(r"(?<!pub )\buse\s+([^;]+);", re.sub(r"pub\([^)]*\) use", "pub use", text))
                     for p, _ in leaves(tree)]
            body = USE.sub(" ", text)
            paths += [(head,) + tuple(re.findall(r"\w+", tail)) for head, tail in PATH.findall(body)]
            paths += [self.bound[module][w] for w in set(re.findall(r"(?<![.\w])\w+", body)) & self.bound[module].keys()]
            for path in paths:
                base = self.absolute(module, tuple(part for part in path if part != "*"))
                # A module that is only the head of longer paths is not an import of its file.
                if base is None or base in self.files:
                    continue
                found = self.definition(base)
                if found is not None and found != module:
                    edges[module].setdefault(found, "::".join(path))
        return edges


def circles(edges):
    """The strongly connected components of more than one file (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in edges[node]:
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            component = []
            while not component or component[-1] != node:
                component.append(stack.pop())
            if len(component) > 1:
                found.append(component)

    for node in edges:
        if node not in index:
            visit(node)
    return found


sys.setrecursionlimit(10_000)
metadata = json.loads(subprocess.check_output(["cargo", "metadata", "--format-version", "1", "--no-deps"]))
here, files, failed = Path.cwd(), 0, False
for package in metadata["packages"]:
    for target in package["targets"]:
        if target["kind"] == ["custom-build"]:
            continue
        crate = Crate(Path(target["src_path"]))
        files += len(crate.files)
        edges = crate.imports()
        for component in circles(edges):
            failed = True
            print(f"{package['name']}, {target['name']}: {len(component)} files import each other")
            for module in sorted(component):
                for other, name in edges[module].items():
                    if other in component:
                        file, of = crate.files[module].relative_to(here), crate.files[other].relative_to(here)
                        print(f"  {file} takes {name} from {of}")
print(f"{files} files read; " + ("circles found" if failed else "no two of them import each other"))
sys.exit(failed)
