"""`slimwire decode` and `slimwire inspect` of a stream file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimcli.exits import Failures, needs_extra
from slimcli.files.clip import Unchanged, read_clip
from slimcli.streams import STANDARD, refuse_existing, say, say_json, say_of, write_picture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from slimcodec.container import Container
    from slimcodec.decode import Decoder
    from slimcodec.stream import StreamReader
    from slimcodec.symbols import Kind

    Put = Callable[[int, float, NDArray[np.uint8]], None]  # number, seconds, picture

_FORMATS = {".mkv": "matroska", ".mov": "mov", ".mp4": "mp4"}  # of a video, FFmpeg's names
_STANDARD_FORMAT = "matroska"  # which needs no seeking
_CLOCK = 90_000  # its steps a second


def decode_clip(
    reader: StreamReader, source: Path, output: Path, decoder: Decoder, *, force: bool
) -> None:
    """Write the frames of a stream, as a video or into a folder; a fault ends its frame only.

    Raises:
        FileExistsError: that would replace something, and `force` is false.
    """
    failures, images, count = Failures(), Unchanged["NDArray[np.uint8]"](), 0
    is_video = output == STANDARD or output.suffix.lower() in _FORMATS
    with _video(output, reader, force=force) if is_video else _folder(output, force=force) as put:
        for record, frame in read_clip(
            reader, decoder, lambda why: failures.tell(f"{source}: {why}")
        ):
            if record.number is not None:
                put(record.number, record.seconds, images.get(frame, decoder.decode_image))
                count += 1
    say_of(STANDARD if output == STANDARD else source, f"{output}: {count} pictures")
    failures.end()


@contextmanager
def _folder(output: Path, *, force: bool) -> Iterator[Put]:
    output.mkdir(parents=True, exist_ok=True)
    yield lambda number, _, image: write_picture(output / f"{number:06d}.png", image, force=force)


@contextmanager
def _video(output: Path, reader: StreamReader, *, force: bool) -> Iterator[Put]:
    with needs_extra("edge", "decode STREAM -o VIDEO"):
        import av
    import numpy as np

    from slimcodec.whole_file import whole_file

    refuse_existing(output, force=force)
    h, w = reader.header.image_hw
    even = ((0, h % 2), (0, w % 2), (0, 0))  # the last row or column is there twice
    target = nullcontext(sys.stdout.buffer) if output == STANDARD else whole_file(output)
    file_format = _FORMATS.get(output.suffix.lower(), _STANDARD_FORMAT)
    with target as file, av.open(file, "w", format=file_format) as video:
        stream = video.add_stream("libx264", options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = w + w % 2, h + h % 2, "yuv420p"
        stream.codec_context.time_base = Fraction(1, _CLOCK)

        def put(_: int, seconds: float, image: NDArray[np.uint8]) -> None:
            frame = av.VideoFrame.from_ndarray(np.pad(image, even, mode="edge"), format="rgb24")
            frame.pts, frame.time_base = round(seconds * _CLOCK), Fraction(1, _CLOCK)
            video.mux(stream.encode(frame))

        yield put
        video.mux(stream.encode())


def inspect_clip(
    reader: StreamReader, source: Path, decoder: Decoder | None, model: str | None, *, as_json: bool
) -> None:
    """Show what a stream holds; a fault ends its record only.

    Args:
        decoder: Of its codec: what a record refers to is found by decoding. None: it is not known.
        model: Name of the codec, where it is installed.
    """
    from slimcodec.sequence import SequenceDecoder
    from slimcodec.stream import HEADER_BYTES

    failures, sequence = Failures(), None if decoder is None else SequenceDecoder(decoder)
    held: dict[bytes, tuple[int, int]] = {}  # depth and number of the record with such symbols
    records, num_bytes, seconds = 0, HEADER_BYTES, 0.0
    for record in reader.records(lambda why: failures.tell(f"{source}: {why}")):
        records, num_bytes, seconds = records + 1, num_bytes + record.num_bytes, record.seconds
        with failures.kept(f"{source}: record {record.index}"):
            container = reader.parse(record)
            row: dict[str, object] = {
                "record": record.index,
                "frame": record.number,
                "time_seconds": record.seconds,
                "kind": _kind(container),
                "level": container.level,
                "quality": container.quality,
                "bytes": record.num_bytes,
                "reference_digest": container.reference and container.reference.hex(),
            }
            if sequence is not None and container.prior == "context":
                read = sequence.decode(record.container)
                assert read.symbols is not None
                mine, digest = (read.symbols.depth, record.index), read.symbols.digest
                held[digest] = min(mine, held.get(digest, mine))
                _, row["reference"] = held.get(read.reference or b"", (0, None))
                row["depth"] = read.symbols.depth
            say_json(row) if as_json else say(_line(row))
    header = reader.header
    h, w = header.image_hw
    summary = {
        "file": str(source),
        "records": records,
        "bytes": num_bytes,
        "seconds": seconds,
        "fingerprint": header.fingerprint.hex(),
        "model": model,
        "image_height": h,
        "image_width": w,
    }
    if as_json:
        say_json(summary)
    else:
        say(
            f"{source}: {records} records, {num_bytes:,} bytes in {seconds:.1f} s, {w} x {h} pixels"
        )
        say(f"  model    {header.fingerprint.hex()} ({model or 'not installed here'})")
    failures.end()


def _kind(container: Container) -> Kind:
    if not container.is_inter:
        return "intra"
    return "inter" if container.changes else "unchanged"


def _line(row: dict[str, Any]) -> str:
    frame = "refined" if row["frame"] is None else f"frame {row['frame']}"
    needs = row.get("reference") or row["reference_digest"]
    return (
        f"{row['record']:>6}  {frame:<12} {row['time_seconds']:>10.3f} s  {row['kind']:<9} "
        f"level {row['level']}, quality {row['quality']:g}, {row['bytes']:>7,} bytes"
        + (f", needs {needs}, depth {row.get('depth', '?')}" if needs else "")
    )
