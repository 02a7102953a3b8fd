"""`slimwire levels`: what each level of a codec costs the edge, and what it sends."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

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
class LevelRow:
    """One level: its widths, its cost counted from the graph, its rate from the profile."""

    level: int
    channels: tuple[int, ...]  # of the stages of g_a
    latent_channels: int
    kmac_per_pixel: float
    expected_bpp: tuple[float | None, ...]  # by quality; None where nobody measured it


@dataclass(frozen=True)
class CloudCost:
    """What the cloud computes for a picture, in kMAC per pixel of the picture."""

    feature_transform: float
    tail: float
    stem: float  # what an uncut detector would run besides; not part of the feature path
    g_s: float


def levels(model: Model = DEFAULT_MODEL, models: Models = None, as_json: AsJson = False) -> None:
    """Show what each level costs. Channels, kMAC per pixel counted in the graph, expected bits."""
    codec = open_codec(model, models)
    rows = count_levels(codec)
    cloud = count_cloud(codec, open_detector(codec, models))
    name = codec.label
    if as_json:
        say_json(
            {
                "model": name,
                "fingerprint": codec.manifest.fingerprint,
                "qualities": codec.manifest.qualities,
                "levels": [asdict(row) for row in rows],
                "cloud_kmac_per_pixel": asdict(cloud),
            }
        )
        return
    qualities = range(codec.manifest.qualities)
    say(f"{name}: fingerprint {codec.manifest.fingerprint}")
    say()
    say("level  channels            kMAC/pixel  expected bits per pixel by quality")
    say(" " * 39 + "  ".join(f"{quality:>6}" for quality in qualities))
    for row in rows:
        channels = "-".join(map(str, row.channels))
        expected = "  ".join("   n/a" if v is None else f"{v:6.3f}" for v in row.expected_bpp)
        say(f"{row.level:>5}  {channels:<18}  {row.kmac_per_pixel:>10.2f}  {expected}")
    say()
    say(
        f"cloud, kMAC/pixel: to detect {cloud.feature_transform + cloud.tail:.2f} (feature "
        f"transform {cloud.feature_transform:.2f}, rest of the detector {cloud.tail:.2f}); "
        f"to look {cloud.g_s:.2f}"
    )


def count_levels(codec: CodecArtifact) -> list[LevelRow]:
    """The levels of a codec, narrowest first."""
    expected = {
        (point.level, point.quality): point.bpp
        for point in (codec.profile.points if codec.profile else ())
    }
    pixels = COUNTED_SIDE**2
    return [
        LevelRow(
            level=spec.level,
            channels=tuple(spec.channels),
            latent_channels=spec.latent_channels,
            kmac_per_pixel=_count_edge(codec, spec) / pixels / 1000,
            expected_bpp=tuple(
                expected.get((spec.level, quality)) for quality in range(codec.manifest.qualities)
            ),
        )
        for spec in codec.levels
    ]


def _count_edge(codec: CodecArtifact, level: Level) -> int:
    """Multiply-accumulates of all that the edge runs at a level: g_a, and h_a and h_s if there."""
    macs = count_macs(codec.analysis_path(level.level), {"x": (1, 3, COUNTED_SIDE, COUNTED_SIDE)})
    manifest = codec.manifest
    if manifest.prior == "hyperprior":
        assert manifest.hyper_stride is not None
        v, z = COUNTED_SIDE // manifest.latent_stride, COUNTED_SIDE // manifest.hyper_stride
        of_v = {"v": (1, level.latent_channels, v, v)}
        of_z = {"z_hat": (1, level.hyper_channels, z, z)}
        macs += count_macs(codec.file(f"h_a_{level.level}.onnx"), of_v)
        macs += count_macs(codec.file(f"h_s_{level.level}.onnx"), of_z)
    return macs


def count_cloud(codec: CodecArtifact, detector: DetectorArtifact) -> CloudCost:
    """The cloud's graphs for one picture."""
    stride = codec.manifest.latent_stride
    widest = codec.levels[-1]
    latent = {
        "y_hat": (1, widest.latent_channels, COUNTED_SIDE // stride, COUNTED_SIDE // stride),
        "level": (1, len(codec.levels)),
    }
    split = detector.manifest.split
    side = COUNTED_SIDE // split.stride
    per_pixel = 1000 * COUNTED_SIDE**2
    return CloudCost(
        feature_transform=count_macs(codec.file("feature_transform.onnx"), latent) / per_pixel,
        tail=count_macs(detector.file("tail.onnx"), {"f": (1, split.channels, side, side)})
        / per_pixel,
        stem=count_macs(detector.file("stem.onnx"), {"x": (1, 3, COUNTED_SIDE, COUNTED_SIDE)})
        / per_pixel,
        g_s=count_macs(codec.file("g_s.onnx"), latent) / per_pixel,
    )
