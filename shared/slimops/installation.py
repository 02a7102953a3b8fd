"""How an extra is installed beside this program, wherever the program came from."""

import json
import shlex
import sys
from importlib.metadata import PackageNotFoundError, distribution
from urllib.parse import unquote, urlsplit


def how_to_install(extra: str) -> str:
    """The command that adds an extra to this environment.

    Where this distribution came from stands beside it (PEP 610): a checkout or a wheel. An index
    knows it only if it was installed from one; the bare name, typed elsewhere, would install
    whatever somebody registered under it.
    """
    return shlex.join([sys.executable, "-m", "pip", "install", *_requirement(extra)])


def _requirement(extra: str) -> list[str]:
    name = f"slimwire[{extra}]"
    try:
        origin = distribution("slimwire").read_text("direct_url.json")
    except PackageNotFoundError:  # a source tree on the path
        return ["-e", f".[{extra}]"]
    if origin is None:
        return [name]
    told = json.loads(origin)
    if told.get("dir_info", {}).get("editable"):
        return ["-e", f"{unquote(urlsplit(told['url']).path)}[{extra}]"]
    return [f"{name} @ {told['url']}"]
