"""The codec and its detector for programs: pictures in, bytes; bytes in, boxes and pictures.

    rgb --encode--> base --detect--> boxes              no picture is decoded on this way
                     | `---decode--> rgb_hat
    rgb --enhance----'---> rest      decode(base, rest) --> a better rgb_hat

A container carries the fingerprint of the model that made it, so whoever reads finds that model by
itself. A model is opened once for a process and its graphs are compiled when they are first needed;
everything here may be called from many threads. numpy, OpenVINO and the rest are loaded with the
first model, not by `import slimwire`.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from slimcodec.container import parse_container
from slimcodec.model.find import DEFAULT_MODEL, find_codec_of, find_model, models_root

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from slimcodec.decode import Decoder
    from slimcodec.detection import Detection
    from slimcodec.encode import Encoder
    from slimdetect.detector import Detector

    Picture: TypeAlias = NDArray[np.uint8] | Image


class Codec:
    """One trained codec and, where its model names one, its detector."""

    def __init__(
        self, model: str = DEFAULT_MODEL, *, models: Path | None = None, threads: int | None = None
    ) -> None:
        """Open a model and check its files.

        Args:
            model: `name` for its newest version, `name/3` for version 3.
            models: the folder of models; None: $SLIMWIRE_MODELS, or those that came along.
            threads: that a graph may use; None: all processors.

        Raises:
            ModelError: there is no such model, or a file of it is missing or altered.
        """
        from slimcodec.graph.openvino_runtime import OpenVinoRuntime
        from slimcodec.model.load import load_codec_artifact

        self._models = models
        self._artifact = load_codec_artifact(find_model("codec", model, models))
        self._runtime = OpenVinoRuntime(threads)

    @property
    def label(self) -> str:
        """The model as `name/version`."""
        return self._artifact.label

    @property
    def fingerprint(self) -> bytes:
        """8 bytes that every container of this codec carries."""
        return self._artifact.fingerprint

    @property
    def widest_level(self) -> int:
        """The last level; the first, 0, is the narrowest and the cheapest to encode."""
        return self._artifact.widest_level

    @property
    def finest_quality(self) -> int:
        """The last quality; the first, 0, is the coarsest."""
        return self._artifact.manifest.qualities - 1

    @property
    def labels(self) -> tuple[str, ...]:
        """What the detector can find, by `Detection.class_id`."""
        return self._detector.names

    def encode(self, rgb: Picture, *, level: int = 0, quality: float | None = None) -> bytes:
        """Encode a picture into a container.

        Args:
            rgb: an array, uint8 (H, W, 3), or a picture of Pillow in the mode RGB.
            level: width of the encoder, 0 to `widest_level`.
            quality: 0 to `finest_quality`, fractions lie between; None: the middle one.

        Raises:
            ImageError: not such a picture, or one of more than 2**26 pixels.
            CodecError: there is no such level or quality.
        """
        if quality is None:
            quality = self._artifact.manifest.qualities // 2
        return self._encoder.encode(_to_array(rgb), level, quality).bitstream

    def enhance(self, rgb: Picture, base: bytes, *, level: int | None = None) -> bytes:
        """Encode only what a container lacks: the `rest` of `decode`.

        Args:
            rgb: the very picture that `base` was made of, uint8 (H, W, 3).
            base: its container, as `encode` gave it.
            level: to lift it to; None: the widest.

        Raises:
            BitstreamError: `base` is no container of this model.
            ImageError: `base` is of another picture.
            CodecError: it has reached that level already.
        """
        return self._encoder.enhance(_to_array(rgb), base, level).bitstream

    def decode(self, base: bytes, rest: bytes | None = None) -> NDArray[np.uint8]:
        """Decode a container to a picture, uint8 (H, W, 3) RGB in the size of the original.

        Args:
            base: as `encode` gave it.
            rest: as `enhance` gave it for this `base`; None: the picture of `base` alone.

        Raises:
            BitstreamError: the bytes are damaged, of another model, or do not belong together.
        """
        return self._decoder.decode_image(self._decoder.decode_latent(base, rest))

    def detect(
        self,
        base: bytes,
        rest: bytes | None = None,
        *,
        min_score: float | None = None,
        labels: Sequence[str] = (),
    ) -> list[Detection]:
        """Find objects in a container without decoding a picture; the surest first.

        Args:
            base: as `encode` gave it.
            rest: as `enhance` gave it for this `base`, if it is there.
            min_score: boxes of any class below this score, 0 to 1, are left out; None: the model's
                own threshold of each class counts, and classes without one are left out.
            labels: only boxes of these classes; none: of all.

        Returns:
            Boxes (x_min, y_min, x_max, y_max) in pixels of the original picture.

        Raises:
            BitstreamError: the bytes are damaged, of another model, or do not belong together.
            ModelError: this model has no detector here, or it knows no such label.
        """
        from slimdetect.scores import Wanted

        latent = self._decoder.decode_latent(base, rest)
        return self._detector.detect_latents([latent], Wanted(min_score, tuple(labels)))[0]

    @cached_property
    def _encoder(self) -> Encoder:
        from slimcodec.encode import Encoder

        return Encoder(self._artifact, self._runtime)

    @cached_property
    def _decoder(self) -> Decoder:
        from slimcodec.decode import Decoder

        return Decoder(self._artifact, self._runtime)

    @cached_property
    def _detector(self) -> Detector:
        from slimcodec.model.load import load_detector_of
        from slimdetect.detector import Detector

        detector = load_detector_of(self._artifact, self._models)
        return Detector(self._artifact, detector, self._runtime)


def encode(
    rgb: Picture, *, level: int = 0, quality: float | None = None, model: str = DEFAULT_MODEL
) -> bytes:
    """Encode a picture, uint8 (H, W, 3), into a container: `Codec.encode` of a model by name."""
    return _open(model, models_root()).encode(rgb, level=level, quality=quality)


def enhance(rgb: Picture, base: bytes, *, level: int | None = None) -> bytes:
    """Encode what `base` lacks of its picture: `Codec.enhance` of the model that made it."""
    return _codec_of(base).enhance(rgb, base, level=level)


def decode(base: bytes, rest: bytes | None = None) -> NDArray[np.uint8]:
    """Decode to a picture, uint8 (H, W, 3): `Codec.decode` of the model that made `base`."""
    return _codec_of(base).decode(base, rest)


def detect(
    base: bytes,
    rest: bytes | None = None,
    *,
    min_score: float | None = None,
    labels: Sequence[str] = (),
) -> list[Detection]:
    """Find objects, boxes in pixels: `Codec.detect` of the model that made `base`."""
    return _codec_of(base).detect(base, rest, min_score=min_score, labels=labels)


def _codec_of(container: bytes) -> Codec:
    root = models_root()
    return _open(_model_of(parse_container(container).fingerprint, root), root)


@lru_cache(maxsize=16)
def _model_of(fingerprint: bytes, root: Path) -> str:
    directory = find_codec_of(fingerprint, root)
    return f"{directory.parent.name}/{directory.name}"


@lru_cache(maxsize=4)
def _open(model: str, root: Path) -> Codec:
    return Codec(model, models=root)


def _to_array(rgb: Picture) -> NDArray[np.uint8]:
    """The picture as an array; its kind and size are checked where it is encoded."""
    import numpy as np

    return np.asarray(rgb)
