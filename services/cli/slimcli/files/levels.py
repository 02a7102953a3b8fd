"""`slimwire levels`: what each level of a codec costs the edge, and what it sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slimcli.models import open_codec
from slimcli.options import AsJson, Model, Models
from slimcli.streams import say, say_json
from slimcodec.model.find import DEFAULT_MODEL

if TYPE_CHECKING:
    from slimcodec.model.artifact import CodecArtifact
    from slimcodec.model.manifest import Level


def levels(model: Model = DEFAULT_MODEL, models: Models = None, as_json: AsJson = False) -> None:
    """Show what each level costs. Channels, kMAC per pixel at the edge, expected bits."""
    codec = open_codec(model, models)
    rows = [_row(codec, level) for level in codec.levels]
    if as_json:
        say_json(
            {
                "model": codec.label,
                "fingerprint": codec.manifest.fingerprint,
                "qualities": codec.manifest.qualities,
                "levels": rows,
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
