"""`slimwire encode` of a video or a folder: its frames into a stream file."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from slimcli.exits import Failures, needs_extra
from slimcli.frames import read_frames
from slimcli.streams import STANDARD, say_of

if TYPE_CHECKING:
    from slimcodec.sequence import SentFrame, SequenceEncoder


def encode_clip(
    source: Path,
    output: Path,
    sequence: SequenceEncoder,
    fingerprint: bytes,
    fps: float | None,
    loss: float,
) -> None:
    """Write the stream of a source, and say what it took; a frame's fault ends that frame only.

    Args:
        fps: Frames a second to take, of a folder: that it has. None: all, of a folder 1.
        loss: The share of containers that get lost, the same ones on every run.

    Raises:
        CameraError: nothing there can be played.
    """
    from slimcodec.errors import StreamError
    from slimcodec.stream import StreamHeader, StreamWriter

    failures, random, kinds, seconds = Failures(), Random(0), Counter[str](), 0.0
    with needs_extra("edge", "encode VIDEO"):
        frames = read_frames(source, fps, lambda why: failures.tell(f"{source}: {why}"))
    first = next(frames)
    header = StreamHeader(fingerprint, (first.image.shape[0], first.image.shape[1]))
    with nullcontext(sys.stdout.buffer) if output == STANDARD else output.open("wb") as file:
        writer = StreamWriter(file, header)
        in_flight: list[tuple[SentFrame, bool]] = []  # what became of them is known a frame later
        for number, seconds, image in chain([first], frames):
            with failures.kept(f"{source}, picture {number}"):
                if image.shape[:2] != header.image_hw:
                    h, w = header.image_hw
                    raise StreamError(f"is not of {w}x{h} pixels, as the first one")
                for sent, is_lost in in_flight:
                    (sequence.lost if is_lost else sequence.received)(sent)
                in_flight.clear()
                made = (sequence.encode(image, seconds), sequence.refine(image, seconds))
                for sent in filter(None, made):
                    is_lost = random.random() < loss
                    in_flight.append((sent, is_lost))
                    kinds["refined" if sent.refines else sent.kind] += 1
                    kinds["lost"] += is_lost
                    if not is_lost:
                        shown = None if sent.refines else number
                        writer.write(seconds, shown, sent.encoded.bitstream)
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
    num_bytes = writer.num_bytes
    rate = f", {8 * num_bytes / seconds / 1000:.1f} kbit/s" if seconds else ""
    say_of(output, f"{output}: {told}; {num_bytes:,} bytes in {seconds:.1f} s{rate}")
    failures.end()
