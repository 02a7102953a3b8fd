"""A model folder appears whole or not at all, and never changes: it is written beside its place and
renamed.
"""

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from slimcodec.model.artifact import CodecArtifact, DetectorArtifact
from slimcodec.whole_file import sync

Json = str | int | float | bool | None | Sequence["Json"] | Mapping[str, "Json"]

LICENCE_UNKNOWN = "not stated; ask whoever trained the weights"

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class ArtifactFolderError(Exception):
    """The folder is not `<name>/<version>`, or holds a model already."""


@contextmanager
def new_artifact(out_dir: Path) -> Iterator[Path]:
    """A scratch folder that becomes `out_dir` when the block ends well.

    Args:
        out_dir: `.../<name>/<version>`; the version is a positive integer.

    Raises:
        ArtifactFolderError: `out_dir` is of another form, or exists.
    """
    out_dir = out_dir.absolute()
    check_new_artifact(out_dir)
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}-", dir=out_dir.parent))
    try:
        yield staging
        staging.chmod(0o755)  # mkdtemp's 0700 would hide the model from the services' own user
        for path in (*staging.iterdir(), staging):
            sync(path)  # else the name could survive a power cut and the files not
        staging.rename(out_dir)
        sync(out_dir.parent)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


@contextmanager
def new_version(
    base: CodecArtifact | DetectorArtifact,
    out_dir: Path,
    changes: Mapping[str, Json],
    training: Mapping[str, Json],
    *,
    keeps_profile: bool,
) -> Iterator[Path]:
    """Write a version of a model that edges need not know of: a scratch folder that has the files
    of `base`, and the manifest when the block ends.

    Args:
        changes: what the manifest says otherwise; `training`: what it says besides.
        keeps_profile: whether the figures of `base` are those of the new version, too.

    Raises:
        ArtifactFolderError: `out_dir` exists or is not `.../<name>/<version>`.
        ModelError: a file of the model is missing.
    """
    manifest = json.loads((base.directory / "manifest.json").read_text(encoding="utf-8"))
    with new_artifact(out_dir) as folder:
        for name in base.manifest.files:
            shutil.copyfile(base.file(name), folder / name)
        yield folder
        training = {**manifest["training"], **training}
        write_manifest(folder, out_dir, {**manifest, **changes, "training": training})
        if keeps_profile and (base.directory / "profile.json").exists():
            shutil.copyfile(base.directory / "profile.json", folder / "profile.json")


def check_new_artifact(out_dir: Path) -> None:
    """Refuse a place where no model can be written, before any work goes into it.

    Raises:
        ArtifactFolderError: `out_dir` is of another form than `.../<name>/<version>`, or exists.
    """
    out_dir = out_dir.absolute()
    if not _NAME.fullmatch(out_dir.parent.name) or not re.fullmatch(r"[1-9]\d*", out_dir.name):
        raise ArtifactFolderError(
            f"{out_dir}: expected '<name>/<version>', a lower-case name and a positive integer"
        )
    if out_dir.exists():
        raise ArtifactFolderError(f"{out_dir} exists; artifacts never change, raise the version")


def write_manifest(folder: Path, out_dir: Path, said: Mapping[str, object]) -> None:
    """The last file of a new artifact: what is said of it, its name and version, its files."""
    identity = {"name": out_dir.parent.name, "version": int(out_dir.name)}
    manifest = {**identity, **said, **identity, "files": file_records(folder)}
    text = json.dumps(manifest, indent=1) + "\n"
    (folder / "manifest.json").write_text(text, encoding="utf-8")


def file_records(folder: Path) -> dict[str, dict[str, str | int]]:
    """Digest and size of every file, as manifests list them."""
    records: dict[str, dict[str, str | int]] = {}
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        records[path.name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    return records
