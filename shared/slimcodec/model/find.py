"""Where models are: found by name, or by the fingerprint that containers carry.

Loads nothing heavy: a manifest is looked at here, and read and checked in `artifact`.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from slimcodec.errors import ModelError

DEFAULT_MODEL = "slim"  # the codec that is taken where none is named
MODELS_ROOT_VARIABLE = "SLIMWIRE_MODELS"
MAX_TEXT_BYTES = 4 * 2**20  # of a manifest, a profile, a list of names


def models_root() -> Path:
    """Return where models are: $SLIMWIRE_MODELS, or those that ship with the program."""
    configured = os.environ.get(MODELS_ROOT_VARIABLE)
    return Path(configured) if configured else shipped("models")


def shipped(name: str) -> Path:
    """Return where something that ships lies: at a checkout's root, or where a wheel puts it."""
    checkout = Path(__file__).resolve().parents[3] / name
    return checkout if checkout.exists() else Path(sys.prefix) / "share" / "slimwire" / name


def find_model(
    kind: Literal["codec", "detector"] | None, name: str, root: Path | None = None
) -> Path:
    """Return the directory of a model.

    Args:
        kind: Which kind of model `name` must be; None: either.
        name: `name` for its highest version, or `name/3` for version 3.
        root: Where to look; `models_root()` if not given.

    Raises:
        ModelError: naming what is there instead.
    """
    root = models_root() if root is None else root
    base, _, pinned = name.partition("/")
    versions = {
        version: directory
        for found, version, directory in _models(root)
        if found == base and pinned in ("", str(version))
    }
    if not versions:
        there = ", ".join(sorted({found for found, _, _ in _models(root)}))
        raise ModelError(
            f"no model {name!r} under {root}; there is {there or 'nothing'}; "
            f"set {MODELS_ROOT_VARIABLE} or train and export one"
        )
    directory = versions[max(versions)]
    found_kind = read_json(directory / "manifest.json").get("kind")
    if kind not in (None, found_kind):
        raise ModelError(f"{directory}: is a {found_kind!r} model, a {kind!r} model was asked for")
    return directory


def find_codec_of(fingerprint: bytes, root: Path | None = None) -> Path:
    """Return the directory of the codec whose containers carry a fingerprint, 8 bytes.

    Codecs that differ only in what the cloud runs share one; then it is the newest of the first
    name.

    Args:
        fingerprint: As `parse_container` gives it.
        root: Where to look; `models_root()` if not given.

    Raises:
        ModelError: no codec there has it.
    """
    root = models_root() if root is None else root
    for _, _, directory in sorted(_models(root), key=lambda model: (model[0], -model[1])):
        if read_json(directory / "manifest.json").get("fingerprint") == fingerprint.hex():
            return directory
    raise ModelError(
        f"no codec under {root} has the fingerprint {fingerprint.hex()}; "
        f"set {MODELS_ROOT_VARIABLE} to where the one is that made these bytes"
    )


def read_json(path: Path) -> dict[str, object]:
    """Return the JSON object of a model's file, unchecked otherwise.

    Raises:
        ModelError: it is missing, or no JSON object.
    """
    try:
        raw = json.loads(read_small(path))
    except (ValueError, RecursionError) as exc:
        raise ModelError(f"{path}: cannot be read as JSON: {exc}") from exc
    if not isinstance(raw, dict):
        raise ModelError(f"{path}: holds no JSON object")
    return raw


def read_small(path: Path) -> bytes:
    """Return what a model's file of text holds.

    Raises:
        ModelError: it is missing, no file, or larger than such a file ever is.
    """
    try:
        if not path.exists():
            raise ModelError(f"{path}: is missing; is this a model's directory?")
        if not path.is_file() or path.stat().st_size > MAX_TEXT_BYTES:
            raise ModelError(f"{path}: is no file of at most {MAX_TEXT_BYTES} bytes")
        return path.read_bytes()
    except OSError as exc:
        raise ModelError(f"{path}: cannot be read: {exc}") from exc


def _models(root: Path) -> Iterator[tuple[str, int, Path]]:
    """Name, version and directory of every model."""
    for path in root.glob("*/*/manifest.json"):
        if path.parent.name.isdecimal():
            yield path.parent.parent.name, int(path.parent.name), path.parent
