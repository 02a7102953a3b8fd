"""Print the third-party requirements of `slimwire[extra]`, one a line.

    python deploy/requirements.py edge

An image installs them in a layer of their own, which a change of the source leaves in the cache.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

_OURSELVES = re.compile(r"slimwire\[([\w,-]+)\]")


def requirements(project: dict[str, object], extra: str) -> list[str]:
    """Give the requirements of the base and of one extra, references to itself resolved.

    Raises:
        KeyError: there is no such extra.
    """
    base, extras = project["dependencies"], project["optional-dependencies"]
    assert isinstance(base, list)
    assert isinstance(extras, dict)
    found: list[str] = list(base)
    for line in extras[extra]:
        if ourselves := _OURSELVES.fullmatch(line):
            for name in ourselves[1].split(","):
                found += requirements(project, name)
        else:
            found.append(line)
    return sorted(set(found))


if __name__ == "__main__":
    pyproject = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    sys.stdout.write("\n".join(requirements(pyproject["project"], sys.argv[1])) + "\n")
