"""`slimwire inspect`: what a container says about itself. Needs no model."""

from __future__ import annotations

from pathlib import Path

import typer

from slimcli.input import read_bytes
from slimcli.options import AsJson, Container, Models
from slimcli.output import say, say_json


def register(app: typer.Typer) -> None:
    app.command("inspect")(inspect_container)


def inspect_container(
    container: Container,
    models: Models = None,
    as_json: AsJson = False,
) -> None:
    """Show what a container holds. All its checksums are verified."""
    from slimcodec.container import parse_container

    bitstream = read_bytes(container)
    parsed = parse_container(bitstream)
    h, w = parsed.image_hw
    bpp = 8 * len(bitstream) / (h * w)
    model = _model_of(parsed.fingerprint, models)
    if as_json:
        say_json(
            {
                "file": str(container),
                "version": parsed.version,
                "kind": "enhancement" if parsed.is_enhancement else "base",
                "streams": parsed.streams,
                "prior": parsed.prior,
                "fingerprint": parsed.fingerprint.hex(),
                "model": model,
                "level": parsed.level,
                "first_group": parsed.first_group,
                "quality": parsed.quality,
                "image_height": h,
                "image_width": w,
                "bytes": len(bitstream),
                "bpp": bpp,
                "sections": [
                    {"group": s.group, "symbols": s.symbol_count, "bytes": len(s.data)}
                    for s in parsed.sections
                ],
            }
        )
        return
    kind = f"enhancement from group {parsed.first_group}" if parsed.is_enhancement else "base"
    say(f"{container}: {len(bitstream):,} bytes, container version {parsed.version}, {kind}")
    say(f"  model    {parsed.fingerprint.hex()} ({model or 'not installed here'})")
    say(f"  level    {parsed.level}, quality {parsed.quality:g}")
    say(f"  coding   {parsed.streams} streams, {parsed.prior} prior")
    say(f"  picture  {w} x {h} pixels, {bpp:.4f} bits per pixel")
    for section in parsed.sections:
        say(
            f"  group {section.group}  {len(section.data):>9,} bytes  "
            f"{section.symbol_count:>9,} symbols"
        )


def _model_of(fingerprint: bytes, models: Path | None) -> str | None:
    """`name/version` of the installed codec with this fingerprint, if there is one."""
    from slimcodec.errors import ModelError
    from slimcodec.model.find import find_codec_of

    try:
        directory = find_codec_of(fingerprint, models)
    except ModelError:
        return None
    return f"{directory.parent.name}/{directory.name}"
