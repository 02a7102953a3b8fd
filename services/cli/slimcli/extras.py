"""Optional dependencies: which extra a command needs, told when its import fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from slimcli.exits import MissingExtraError


@contextmanager
def needs_extra(extra: str, command: str) -> Iterator[None]:
    """Around the imports of a command: a package that is missing is named with its extra.

    Raises:
        MissingExtraError: a package of others is not installed; one of ours missing is a bug, and
            stays a `ModuleNotFoundError`.
    """
    try:
        yield
    except ModuleNotFoundError as exc:
        package = (exc.name or "").partition(".")[0]
        if not package or package.startswith("slim"):
            raise
        raise MissingExtraError(command, package, extra) from exc
