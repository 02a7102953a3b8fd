"""The house in numbers, from the files of a checkout alone: docs/develop/house.md has them.

    python bench/house.py                 this checkout
    python bench/house.py DIR bench/house-c1da53e.txt    that commit, by its own names of the stops

Modules on one frame's way are those of the reading map's stops, and the product's own modules that
these import; not those that only carry settings, errors, metrics or names, and not those of another
subject than a frame on its way (`_BESIDE`). House rule: standard library only, so that it runs on
any commit.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

_STOP = re.compile(r"^\| `([a-z_.0-9]+):([A-Za-z_.]+)` \|", re.MULTILINE)
_PACKAGES_ON_THE_WAY = {"slimcloud", "slimcodec", "slimcontrol", "slimdetect", "slimedge"}
# last parts of module names, old and new
_BESIDE = re.compile(
    # carries settings, errors, metrics or names
    r"settings|errors|metrics|names|detect_metrics|ingest_metrics"
    # another subject
    r"|auth|backfill|budgets|camera_auth|cameras|commands|gaps?|listing|refetch|refetches|refusals|registry"
    r"|retention|reviews|spending|spool|spool_worker|timeline"
    # before the first frame
    r"|backoff|calibration|canary|cloud_channel|jpeg|jpeg_meter|source|wall_clock"
)


def main() -> None:
    """Print every number, one a line."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    modules = _modules(root)
    if len(sys.argv) > 2:
        stops = [line.partition(":")[0] for line in Path(sys.argv[2]).read_text().split()]
    else:
        page = root / "docs" / "develop" / "architecture.md"
        stops = [module for module, _ in _STOP.findall(page.read_text(encoding="utf-8"))]

    print("package: modules, lines")
    by_package = Counter(name.partition(".")[0] for name in modules)
    for package, count in sorted(by_package.items()):
        inside = [name for name in modules if name.partition(".")[0] == package]
        print(f"  {package}: {count}, {_lines(modules, inside)}")
    print(f"product: {len(modules)} modules, {_lines(modules, list(modules))} lines")
    lua = [path for path in _tracked(root, "services") if path.suffix == ".lua"]
    print(f"the store's Lua, beside what stands in Python: {sum(map(_length, lua))} lines")
    for folder in ("tests", "studies", "bench"):
        files = [path for path in _tracked(root, folder) if path.suffix == ".py"]
        print(f"{folder}: {len(files)} files, {sum(map(_length, files))} lines")

    folders = Counter(path.parent for path in modules.values() if path.name != "__init__.py")
    largest, count = folders.most_common(1)[0]
    print(f"largest folder: {count} modules ({largest.relative_to(root)})")

    seeds = set(stops)
    way = seeds | {
        name
        for stop in seeds
        for name in _imports(modules, stop)
        if name.partition(".")[0] in _PACKAGES_ON_THE_WAY
        and name.count(".")
        and not _BESIDE.fullmatch(name.rpartition(".")[2])
    }
    print(f"stops: {len(seeds)} modules, {_lines(modules, list(seeds))} lines")
    print(f"one frame's way: {len(way)} modules, {_lines(modules, list(way))} lines")

    pages = [root / "README.md", *sorted((root / "docs").glob("*.md"))]
    print(f"users' pages: {len(pages)}, {sum(map(_words, pages))} words")
    for folder in ("docs/develop", "docs/decisions", "studies"):
        inside_folder = [path for path in _tracked(root, folder) if path.suffix == ".md"]
        print(f"{folder}: {sum(map(_words, inside_folder))} words")
    size = sum(path.stat().st_size for path in _tracked(root, "models"))
    print(f"models: {size / 1e6:.1f} MB")


def _modules(root: Path) -> dict[str, Path]:
    """Every module of the product by its dotted name, generated code left out."""
    found = {}
    for source_root in (root / "proto", root / "shared", *sorted((root / "services").iterdir())):
        for path in source_root.rglob("*.py"):
            parts = list(path.relative_to(source_root).with_suffix("").parts)
            if "_pb2" in path.name or len(parts) == 1:  # proto/generate.py is no module
                continue
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _imports(modules: dict[str, Path], name: str) -> set[str]:
    imported = set()
    for node in ast.walk(ast.parse(modules[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                imported.add(inner if inner in modules else node.module)
        elif isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
    return imported & modules.keys()


def _tracked(root: Path, folder: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", folder], cwd=root, capture_output=True, text=True, check=True
    )
    return [root / line for line in listed.stdout.splitlines()]


def _lines(modules: dict[str, Path], names: list[str]) -> int:
    return sum(_length(modules[name]) for name in names)


def _length(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def _words(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").split())


if __name__ == "__main__":
    main()
