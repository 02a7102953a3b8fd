"""Model artifacts on disk: checked against their digests, then trusted.

A listed file may be absent (an edge needs only g_a and the weights that it names); asking for it
then fails with its name. A listed file that is present must match its digest.
"""

import hashlib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from slimcodec.context.prior import ContextPrior, load_context
from slimcodec.entropy.tables import load_scale_tables, load_tables
from slimcodec.errors import ModelError
from slimcodec.model.artifact import Artifact, CodecArtifact, DetectorArtifact, ManifestT
from slimcodec.model.find import find_model, read_json
from slimcodec.model.manifest import (
    MANIFEST_FORMAT,
    CodecManifest,
    DetectorManifest,
    FileRecord,
    Profile,
)

_Validated = TypeVar("_Validated", bound=BaseModel)


def load_codec_artifact(path: Path) -> CodecArtifact:
    """Read a codec's artifact and check everything in it that can be checked without running it.

    Raises:
        ModelError: a file is missing, altered, or says something that cannot be.
    """
    manifest = _load_manifest(path, CodecManifest)
    listed = Artifact(path, manifest)
    tables = load_tables(listed.file("tables.npz"))
    profile_path = path / "profile.json"
    profile = read_checked(profile_path, Profile) if profile_path.exists() else None
    scales = context = None
    if manifest.prior == "hyperprior":
        scales = load_scale_tables(listed.file("hyper.npz"))
    elif manifest.prior == "context":
        context = load_context(listed.file("context.npz"))
        _check_context(context, manifest, path)
    artifact = CodecArtifact(path, manifest, tables, profile, scales, context)
    coded = artifact.latent_layout if scales is None else artifact.hyper_layout
    found = (*tables.gain.shape, tables.offset.shape[1])
    columns = coded.num_columns if context is None else 0
    expected = (manifest.qualities, artifact.latent_layout.num_columns, columns)
    if found != expected:
        raise ModelError(
            f"{path}: tables for {found[0]} qualities with {found[1]} gains and {found[2]} coded "
            f"channels; the manifest has {expected[0]} with {expected[1]} and {expected[2]}"
        )
    return artifact


def _check_context(context: ContextPrior, manifest: CodecManifest, path: Path) -> None:
    widths = {level.latent_channels for level in manifest.levels}
    if len(context.bias) != manifest.qualities or not widths <= set(context.ends.tolist()):
        raise ModelError(
            f"{path}: context.npz is of {len(context.bias)} qualities and chunks that end at "
            f"{context.ends.tolist()}; the manifest has {manifest.qualities} and levels of "
            f"{sorted(widths)}"
        )
    if max(widths) != context.ends[-1]:
        raise ModelError(f"{path}: context.npz has {context.ends[-1]} channels, not {max(widths)}")


def load_detector_artifact(path: Path) -> DetectorArtifact:
    """Read a detector's artifact and check its files.

    Raises:
        ModelError: a file is missing, altered, or says something that cannot be.
    """
    return DetectorArtifact(path, _load_manifest(path, DetectorManifest))


def load_detector_of(codec: CodecArtifact, root: Path | None = None) -> DetectorArtifact:
    """Read the artifact of the detector that a codec was trained for.

    Raises:
        ModelError: the codec names none, or it is not under `root` or not whole.
    """
    wanted = codec.manifest.detector
    if wanted is None:
        raise ModelError(f"{codec.label} names no detector in its manifest; it cannot detect")
    return load_detector_artifact(find_model("detector", f"{wanted.name}/{wanted.version}", root))


def _load_manifest(directory: Path, schema: type[ManifestT]) -> ManifestT:
    path = directory / "manifest.json"
    raw = read_json(path)
    if raw.get("format") != MANIFEST_FORMAT:
        raise ModelError(
            f"{path}: format {raw.get('format')!r}; this build reads {MANIFEST_FORMAT}; update it"
        )
    manifest = read_checked(path, schema)
    for name, record in manifest.files.items():
        _check_digest(directory / name, record)
    return manifest


def read_checked(path: Path, schema: type[_Validated]) -> _Validated:
    """Read a model's JSON file; a ModelError where it does not fit the schema."""
    try:
        return schema.model_validate(read_json(path))
    except ValidationError as exc:
        raise ModelError(f"{path}: {exc}") from exc


def _check_digest(path: Path, record: FileRecord) -> None:
    if not path.exists():
        return
    try:
        if not path.is_file():
            raise ModelError(f"{path}: is no file; fetch the model again")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise ModelError(f"{path}: cannot be read: {exc}") from exc
    if found != record.sha256:
        raise ModelError(
            f"{path}: SHA-256 {found[:16]}..., the manifest says {record.sha256[:16]}...; "
            "fetch the model again"
        )
