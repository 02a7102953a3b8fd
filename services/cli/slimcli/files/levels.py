"""`slimwire levels`: what each level of a codec costs the edge, and what it sends."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimcli.files.macs import count_macs
from slimcli.models import open_codec, open_detector
from slimcli.options import AsJson, Model, Models
from slimcli.streams import say, say_json
from slimcodec.model.find import DEFAULT_MODEL

if TYPE_CHECKING:
    from slimcodec.model.artifact import CodecArtifact, DetectorArtifact
    from slimcodec.model.manifest import Level

# Pixels a side of the picture that is counted: a multiple of every padding, so that no border adds.
COUNTED_SIDE = 256


@dataclass(frozen=True)
class CloudCost:
    """What the cloud computes for a picture, in kMAC per pixel of the picture."""

    feature_transform: float
    tail: float
    stem: float  # what an uncut detector would run besides; not part of the feature path
    g_s: float


def levels(model: Model = DEFAULT_MODEL, models: Models = None, as_json: AsJson = False) -> None:
    """Show what each level costs. Channels, kMAC per pixel at the edge, expected bits."""
    codec = open_codec(model, models)
    rows = [_row(codec, level) for level in codec.levels]
    cloud = count_cloud(codec, open_detector(codec, models))
    if as_json:
        say_json(
            {
                "model": codec.label,
                "fingerprint": codec.manifest.fingerprint,
                "qualities": codec.manifest.qualities,
                "levels": rows,
                "cloud_kmac_per_pixel": asdict(cloud),
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
    say(
        f"cloud, kMAC/pixel: to detect {cloud.feature_transform + cloud.tail:.2f} (feature "
        f"transform {cloud.feature_transform:.2f}, rest of the detector {cloud.tail:.2f}); "
        f"to look {cloud.g_s:.2f}"
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


def count_cloud(codec: CodecArtifact, detector: DetectorArtifact) -> CloudCost:
    """The cloud's graphs for one picture."""
    side = COUNTED_SIDE // codec.manifest.latent_stride
    latent = (1, codec.levels[-1].latent_channels, side, side)
    level = (1, len(codec.levels))
    split = detector.manifest.split
    f = (1, split.channels, COUNTED_SIDE // split.stride, COUNTED_SIDE // split.stride)
    return CloudCost(
        feature_transform=_count(codec.file("feature_transform.onnx"), y_hat=latent, level=level),
        tail=_count(detector.file("tail.onnx"), f=f),
        stem=_count(detector.file("stem.onnx"), x=(1, 3, COUNTED_SIDE, COUNTED_SIDE)),
        g_s=_count(codec.file("g_s.onnx"), y_hat=latent, level=level),
    )


def _count(graph: Path, **shapes: tuple[int, ...]) -> float:
    return count_macs(graph, shapes) / COUNTED_SIDE**2 / 1000
