"""Reading stream files: what commands decode, detect on and show, frame by frame.

file, - ─open_clip─> StreamReader ─read_clip, Decoder─> record, frame of each
                  └─ all bytes of anything else
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from slimcli.exits import about
from slimcli.streams import STANDARD
from slimcodec.errors import BitstreamError

if TYPE_CHECKING:
    from slimcodec.decode import Decoder, Latent
    from slimcodec.sequence import ReceivedFrame
    from slimcodec.stream import Record, StreamReader

T = TypeVar("T")
_REMEMBERED = 4  # an unchanged frame refers to one of the last few


@contextmanager
def open_clip(path: Path, patience_seconds: float = 0.0) -> Iterator[StreamReader | bytes]:
    """The reader of a file or of standard input that begins as a stream does; else all its bytes.

    Raises:
        BitstreamError: it is a stream whose header is damaged.
    """
    from slimcodec.stream import MAGIC, StreamReader

    is_standard = path == STANDARD
    with nullcontext(sys.stdin.buffer) if is_standard else path.open("rb") as opened:
        file = cast(io.BufferedReader, opened)
        begun = file.read(len(MAGIC))
        if begun == MAGIC:
            with about(path):
                reader = StreamReader(file, begun, patience_seconds)
            yield reader
        else:
            yield begun + file.read()


def read_clip(
    reader: StreamReader, decoder: Decoder, tell: Callable[[str], None]
) -> Iterator[tuple[Record, ReceivedFrame]]:
    """Every record that can be decoded; of the others is told why.

    One without a frame's number only refines what is shown from the next frame on.
    """
    from slimcodec.sequence import SequenceDecoder

    sequence = SequenceDecoder(decoder)
    for record in reader.records(tell):
        try:
            reader.parse(record)
            received = sequence.decode(record.container)
        except BitstreamError as exc:
            tell(f"record {record.index}: {exc}")
        else:
            yield record, received


class Unchanged(Generic[T]):
    """What was made of frames, for those that are unchanged from one of them."""

    def __init__(self) -> None:
        self._made: dict[bytes, T] = {}

    def get(self, frame: ReceivedFrame, make: Callable[[Latent], T]) -> T:
        """What `make` gives of a frame, or gave of the one that it is unchanged from."""
        known = self._made.get(frame.reference or b"") if frame.kind == "unchanged" else None
        made = make(frame.latent) if known is None else known
        if frame.symbols is not None:
            self._made[frame.symbols.digest] = made
            if len(self._made) > _REMEMBERED:
                del self._made[next(iter(self._made))]
        return made
