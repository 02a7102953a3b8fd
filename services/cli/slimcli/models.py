"""Opening the codec and the detector that a command works with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slimcli.options import Precision
from slimcodec.model.find import DEFAULT_MODEL

if TYPE_CHECKING:
    from slimcodec.graph.runtime import Runtime
    from slimcodec.model.artifact import CodecArtifact, DetectorArtifact


def open_codec(model: str, models: Path | None) -> CodecArtifact:
    """The codec of this name, its files checked against its manifest."""
    from slimcodec.model.find import find_model
    from slimcodec.model.load import load_codec_artifact

    return load_codec_artifact(find_model("codec", model, models))


def open_codec_of(
    fingerprint: bytes | None, model: str | None, models: Path | None
) -> CodecArtifact:
    """The codec of a name, or where none is given the one with a fingerprint."""
    if model is not None or fingerprint is None:
        return open_codec(model or DEFAULT_MODEL, models)
    from slimcodec.model.find import find_codec_of
    from slimcodec.model.load import load_codec_artifact

    return load_codec_artifact(find_codec_of(fingerprint, models))


def open_detector(codec: CodecArtifact, models: Path | None) -> DetectorArtifact:
    """The detector that this codec's features were trained for."""
    from slimcodec.model.load import load_detector_of

    return load_detector_of(codec, models)


def open_model(model: str, models: Path | None) -> tuple[CodecArtifact | None, DetectorArtifact]:
    """The codec of this name and its detector; no codec, if the name is a detector's."""
    from slimcodec.model.find import find_model, read_json
    from slimcodec.model.load import load_detector_artifact

    directory = find_model(None, model, models)
    if read_json(directory / "manifest.json").get("kind") == "detector":
        return None, load_detector_artifact(directory)
    codec = open_codec(model, models)
    return codec, open_detector(codec, models)


def open_runtime(threads: int | None = None, precision: Precision = "auto") -> Runtime:
    """What runs the graphs."""
    from slimcodec.graph.openvino_runtime import OpenVinoRuntime

    return OpenVinoRuntime(num_threads=threads, precision=precision)
