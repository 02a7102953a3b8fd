"""`slimwire detect`: boxes from containers, pictures, videos and cameras.

stream ─SequenceDecoder───────────────────┐
container ─────────────────────┬─decode_latent─> latent ─detect_latents─> boxes
picture ─encode─> container ───┘
picture ─────────── --uncompressed ─────────────────────detect_image────> boxes
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slimcli import options
from slimcli.exits import BadUsageError, Failures
from slimcli.files.clip import Unchanged
from slimcli.files.shots import Shot, expand, is_camera, is_video, read_shots
from slimcli.models import open_codec_of, open_detector, open_runtime
from slimcli.streams import json_line, refuse_existing, say, say_of, write_picture
from slimcodec.model.find import find_model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from slimcodec.decode import Latent
    from slimcodec.detection import Detection
    from slimcodec.graph.runtime import Runtime
    from slimcodec.model.artifact import CodecArtifact
    from slimdetect.scores import Wanted


def detect(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Pictures, containers, streams, videos, folders of these, patterns, rtsp://..., "
            "/dev/videoN; - is standard input.",
        ),
    ],
    as_json: options.AsJson = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also write every picture with its boxes there."),
    ] = None,
    overlay: Annotated[
        Path | None,
        typer.Option(metavar="OUT.png", help="Also write the one picture with its boxes."),
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Boxes of any class below this score are left out; not given: the model's own "
            "threshold of each class, and no boxes of classes without one.",
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="Only boxes of this class; may be repeated."),
    ] = None,
    uncompressed: Annotated[
        bool, typer.Option("--uncompressed", help="The detector alone, on pictures as they are.")
    ] = False,
    level: options.Level = 0,
    quality: options.Quality = None,
    every: Annotated[int, typer.Option(min=1, help="Of a video: only every so many pictures.")] = 1,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Of a video: at most so many pictures.")
    ] = None,
    follow: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="Of a stream: wait so long for more of it."),
    ] = 0.0,
    model: options.ModelOfContainer = None,
    models: options.Models = None,
    threads: options.Threads = None,
    precision: options.Precision = "auto",
    force: options.Force = False,
) -> None:
    """Detect objects in pictures, videos, containers and streams.

    Pictures go through the codec. One line of JSON, or a few of text, for each picture. What cannot
    be read is told at once, the others go on, and the exit code is that of the first failure.
    """
    from slimdetect.scores import Wanted

    if overlay is not None:
        refuse_existing(overlay, force=force)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    point = None if uncompressed else (level, quality)
    wanted = Wanted(min_score, tuple(label or ()))
    opened: dict[bytes | None, _OpenCodec] = {}

    def codec_of(fingerprint: bytes | None) -> _OpenCodec:
        if fingerprint not in opened:
            codec = open_codec_of(fingerprint, model, models)
            opened[fingerprint] = _OpenCodec(codec, models, open_runtime(threads, precision))
        return opened[fingerprint]

    failures = Failures()
    chosen: list[str] = []
    for source in sources:
        with failures.kept(source):
            chosen += expand(source)
    if overlay is not None and (len(chosen) > 1 or (limit != 1 and any(map(is_video, chosen)))):
        raise BadUsageError("--overlay draws one picture; --out DIR draws many")
    if model is not None:
        find_model("codec", model, models)  # a wrong name is told once, not for each picture
    names = _Names()
    for source in chosen:
        with failures.kept(source):
            shots = read_shots(source, failures.tell, lambda f: codec_of(f).decoder, follow)
            for shot in islice(shots, 0, limit and limit * every, every):
                seen = codec_of(shot.fingerprint).see(shot, point, wanted)
                if out is not None:
                    write_picture(out / names.new(shot), seen.drawn(), force=force)
                if overlay is not None:
                    write_picture(overlay, seen.drawn(), force=force)
                report = json_line(seen.row()) if as_json else seen.text()
                say(report) if overlay is None else say_of(overlay, report)
    failures.end()


@dataclass(frozen=True, slots=True)
class _Seen:
    """A shot and what was found in it."""

    shot: Shot
    num_bytes: int | None  # of the container; None: it went uncompressed
    detections: Sequence[Detection]
    image: Callable[[], NDArray[np.uint8]]

    def drawn(self) -> NDArray[np.uint8]:
        """The picture with its boxes."""
        from slimdetect.overlay import draw_detections

        return draw_detections(self.image(), self.detections)

    def row(self) -> dict[str, object]:
        """As JSON; what does not apply is left out."""
        shot = self.shot
        facts = {
            "file": shot.name,
            "frame": shot.frame,
            "seconds" if shot.decoded is None else "time_seconds": shot.seconds,
            "kind": shot.decoded and shot.decoded.kind,
            "activity": shot.decoded and round(shot.decoded.activity, 6),
            "bytes": self.num_bytes,
            "detections": [_row(detection) for detection in self.detections],
        }
        return {name: value for name, value in facts.items() if value is not None}

    def text(self) -> str:
        """For people, some lines."""
        shot, found = self.shot, len(self.detections)
        where = shot.name if shot.frame is None else f"{shot.name}, picture {shot.frame}"
        size = "uncompressed" if self.num_bytes is None else f"{self.num_bytes:,} bytes"
        if shot.decoded is not None:
            size += f", {shot.decoded.kind}"
        lines = [f"{where}: {found} detection{'' if found == 1 else 's'}, {size}"]
        for detection in self.detections:
            x_min, y_min, x_max, y_max = detection.box_xyxy
            lines.append(
                f"  {detection.label:<16} {detection.score:.2f}  "
                f"({x_min:.0f}, {y_min:.0f}) to ({x_max:.0f}, {y_max:.0f})"
            )
        return "\n".join(lines)


class _OpenCodec:
    """What one codec's containers, and pictures, go through."""

    def __init__(self, codec: CodecArtifact, models: Path | None, runtime: Runtime) -> None:
        from slimcodec.decode import Decoder
        from slimcodec.encode import Encoder
        from slimdetect.detector import Detector

        self._encoder = Encoder(codec, runtime)
        self.decoder = Decoder(codec, runtime)
        self._found = Unchanged[Sequence["Detection"]]()
        self._detector = Detector(codec, open_detector(codec, models), runtime)
        self._middle_quality = codec.manifest.qualities // 2

    def see(self, shot: Shot, point: tuple[int, float | None] | None, wanted: Wanted) -> _Seen:
        """What is in a shot; a picture is encoded at (level, quality), or not at all."""
        from slimcodec.sequence import ReceivedFrame

        container, image = shot.container, shot.image
        if point is None:
            if image is None:
                raise BadUsageError(f"{shot.name}: what is encoded is not uncompressed")
            return _Seen(shot, None, self._detector.detect_image(image, wanted), lambda: image)
        if image is not None:
            level, quality = point
            quality = self._middle_quality if quality is None else quality
            container = self._encoder.encode(image, level, quality).bitstream
        if (frame := shot.decoded) is None:
            assert container is not None, "a shot is one of the three"
            frame = ReceivedFrame(self.decoder.decode_latent(container))

        def detect(latent: Latent) -> Sequence[Detection]:
            return self._detector.detect_latents([latent], wanted)[0]

        found = self._found.get(frame, detect)
        shown = partial(self.decoder.decode_image, frame.latent)
        num_bytes = shot.num_bytes or len(container or b"")
        return _Seen(shot, num_bytes, found, shown if image is None else lambda: image)


class _Names:
    """File names of pictures in one folder: after their sources, no two the same."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def new(self, shot: Shot) -> str:
        """The name of the next one."""
        stem = "camera" if is_camera(shot.name) else Path(shot.name).stem.strip("-") or "stdin"
        if shot.frame is not None:
            stem = f"{stem}-{shot.frame:06d}"
        numbered = (f"{stem}-{number}.jpg" for number in count(2))
        name = next(name for name in chain([f"{stem}.jpg"], numbered) if name not in self._given)
        self._given.add(name)
        return name


def _row(detection: Detection) -> dict[str, object]:
    return {
        "label": detection.label,
        "class_id": detection.class_id,
        "score": round(detection.score, 6),
        "box_xyxy": [round(edge, 3) for edge in detection.box_xyxy],
    }
