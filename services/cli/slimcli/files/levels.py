"""`slimwire levels`: what each level of a codec costs the edge, and what it sends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimcli.models import open_codec, open_detector
from slimcli.options import AsJson, Model, Models
from slimcli.streams import say, say_json
from slimcodec.model.find import DEFAULT_MODEL

if TYPE_CHECKING:
    from slimcodec.model.artifact import CodecArtifact, DetectorArtifact
    from slimcodec.model.manifest import Level

# Pixels a side of the picture that is counted: a multiple of every padding, so that no border adds.
COUNTED_SIDE = 256


def levels(model: Model = DEFAULT_MODEL, models: Models = None, as_json: AsJson = False) -> None:
    """Show what each level costs. Channels, kMAC per pixel at the edge, expected bits."""
    codec = open_codec(model, models)
    rows = [_row(codec, level) for level in codec.levels]
    cloud = _count_cloud(codec, open_detector(codec, models))
    if as_json:
        say_json(
            {
                "model": codec.label,
                "fingerprint": codec.manifest.fingerprint,
                "qualities": codec.manifest.qualities,
                "levels": rows,
                "cloud_kmac_per_pixel": cloud,
            }
        )
        return
    qualities = range(codec.manifest.qualities)
    say(f"{codec.label}: fingerprint {codec.manifest.fingerprint}")
    say()
    say("level  channels            kMAC/pixel  expected bits per pixel by quality")
    say(" " * 39 + "  ".join(f"{quality:>6}" for quality in qualities))
    for row in rows:
        channels = "-".join(map(str, row["channels"]))
        expected = "  ".join("   n/a" if v is None else f"{v:6.3f}" for v in row["expected_bpp"])
        say(f"{row['level']:>5}  {channels:<18}  {row['kmac_per_pixel']:>10.2f}  {expected}")
    say()
    transform, tail = cloud["feature_transform"], cloud["tail"]
    say(
        f"cloud, kMAC/pixel: to detect {transform + tail:.2f} (feature transform {transform:.2f}, "
        f"rest of the detector {tail:.2f}); to look {cloud['g_s']:.2f}"
    )


def _row(codec: CodecArtifact, level: Level) -> dict[str, Any]:
    """A level's widths, its cost, and its rate by quality: None where nobody measured it."""
    points = codec.profile.points if codec.profile else ()
    expected = {point.quality: point.bpp for point in points if point.level == level.level}
    return {
        "level": level.level,
        "channels": level.channels,  # of the stages of g_a
        "latent_channels": level.latent_channels,
        "kmac_per_pixel": level.kmac_per_pixel,
        "expected_bpp": [expected.get(quality) for quality in range(codec.manifest.qualities)],
    }


def _count_cloud(codec: CodecArtifact, detector: DetectorArtifact) -> dict[str, float]:
    """What each graph of the cloud computes for a picture, in kMAC per pixel of the picture."""
    side = COUNTED_SIDE // codec.manifest.latent_stride
    latent = (1, codec.levels[-1].latent_channels, side, side)
    level = (1, len(codec.levels))
    split = detector.manifest.split
    f = (1, split.channels, COUNTED_SIDE // split.stride, COUNTED_SIDE // split.stride)
    macs = {
        "feature_transform": count_macs(
            codec.file("feature_transform.onnx"), {"y_hat": latent, "level": level}
        ),
        "tail": count_macs(detector.file("tail.onnx"), {"f": f}),
        # what an uncut detector would run besides; not part of the feature path
        "stem": count_macs(detector.file("stem.onnx"), {"x": (1, 3, COUNTED_SIDE, COUNTED_SIDE)}),
        "g_s": count_macs(codec.file("g_s.onnx"), {"y_hat": latent, "level": level}),
    }
    return {graph: count / COUNTED_SIDE**2 / 1000 for graph, count in macs.items()}


def count_macs(path: Path, input_shapes: Mapping[str, Sequence[int]]) -> int:
    """Multiply-accumulates of one run of an ONNX file's graph, from its real shapes.

    Convolutions (plain, grouped, transposed) and matrix products count; what works element by
    element (activations, additions, the division of a GDN) does not, as is usual in the literature.

    Args:
        input_shapes: the shape of every input, all sides known.
    """
    from slimcodec.graph.openvino_runtime import load_openvino

    model = load_openvino().Core().read_model(path)
    model.reshape({name: list(shape) for name, shape in input_shapes.items()})
    return sum(map(_macs_of, model.get_ordered_ops()))


def _macs_of(operation: Any) -> int:
    """Of one operation; 0 of one that does not count."""
    inputs = [[int(side) for side in port.get_shape()] for port in operation.inputs()]
    match operation.get_type_name():
        case "Convolution":  # weights (O, I, kh, kw): an output element takes I kh kw products
            return prod(_output_shape(operation)) * prod(inputs[1][1:])
        case "GroupConvolution":  # (G, O/G, I/G, kh, kw)
            return prod(_output_shape(operation)) * prod(inputs[1][2:])
        case "ConvolutionBackpropData":  # (I, O, kh, kw): an input element goes into O kh kw
            return prod(inputs[0]) * prod(inputs[1][1:])
        case "GroupConvolutionBackpropData":  # (G, I/G, O/G, kh, kw)
            return prod(inputs[0]) * prod(inputs[1][2:])
        case "MatMul":  # (..., n, k) times (..., k, m): an output element takes k products
            shared = inputs[0][-2 if operation.get_attributes()["transpose_a"] else -1]
            return prod(_output_shape(operation)) * shared
    return 0


def _output_shape(operation: Any) -> list[int]:
    return [int(side) for side in operation.output(0).get_shape()]
