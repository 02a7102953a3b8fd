"""`slimwire detect`: boxes from containers, without decoding a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slimcli.exits import BadUsageError
from slimcli.models import open_codec, open_detector, open_runtime
from slimcli.options import AsJson, Force, Model, Models, Precision, PrecisionOption, Threads
from slimcli.output import refuse_existing, say, say_json, write_bytes
from slimcodec.model.find import DEFAULT_MODEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slimdetect import Detection

DEFAULT_MIN_SCORE = 0.25  # what is shown to people; measurements start at 0.001


def register(app: typer.Typer) -> None:
    app.command()(detect)


def detect(
    containers: Annotated[
        list[Path], typer.Argument(metavar="F...", help="Containers that `encode` made.")
    ],
    as_json: AsJson = False,
    overlay: Annotated[
        Path | None,
        typer.Option(metavar="OUT.png", help="Also decode the picture and draw the boxes on it."),
    ] = None,
    min_score: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Boxes below this score are left out.")
    ] = DEFAULT_MIN_SCORE,
    model: Model = DEFAULT_MODEL,
    models: Models = None,
    threads: Threads = None,
    precision: PrecisionOption = Precision.AUTO,
    force: Force = False,
) -> None:
    """Detect objects in containers; no picture is decoded unless --overlay asks for it."""
    from slimcodec.decode import Decoder
    from slimdetect import Detector

    if overlay is not None:
        if len(containers) > 1:
            raise BadUsageError(f"--overlay draws one picture; {len(containers)} files were given")
        refuse_existing(overlay, force=force)
    bitstreams = [path.read_bytes() for path in containers]
    codec = open_codec(model, models)
    runtime = open_runtime(threads, precision)
    decoder = Decoder(codec, runtime)
    detector = Detector(codec, open_detector(codec, models), runtime)

    latents = [decoder.decode_latent(bitstream) for bitstream in bitstreams]
    found = detector.detect_latents(latents, min_score=min_score)
    for path, detections in zip(containers, found, strict=True):
        _show(path, detections, detector.names, as_json=as_json)
    if overlay is not None:
        from slimcodec.image import image_bytes
        from slimdetect import draw_detections

        image = draw_detections(decoder.decode_image(latents[0]), found[0], detector.names)
        write_bytes(overlay, image_bytes(image, overlay.suffix), force=force)


def _show(
    path: Path, detections: Sequence[Detection], names: Sequence[str], *, as_json: bool
) -> None:
    if as_json:
        say_json({"file": str(path), "detections": [_row(d, names) for d in detections]})
        return
    say(f"{path}: {len(detections)} detection{'' if len(detections) == 1 else 's'}")
    for detection in detections:
        x_min, y_min, x_max, y_max = detection.box_xyxy
        say(
            f"  {names[detection.class_id]:<16} {detection.score:.2f}  "
            f"({x_min:.0f}, {y_min:.0f}) to ({x_max:.0f}, {y_max:.0f})"
        )


def _row(detection: Detection, names: Sequence[str]) -> dict[str, object]:
    return {
        "label": names[detection.class_id],
        "class_id": detection.class_id,
        "score": round(detection.score, 6),
        "box_xyxy": [round(edge, 3) for edge in detection.box_xyxy],
    }
