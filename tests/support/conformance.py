"""The conformance kit of container version 3: its lines, and what a decoder makes of them."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from slimcodec.decode import Decoder
from slimcodec.symbols import FrameSymbols

KIT = Path(__file__).parents[1] / "vectors" / "version_3"

Line = Mapping[str, Any]


def read_lines(text: str) -> dict[str, Line]:
    """JSON objects, one a line, by their names."""
    return {line["name"]: line for line in map(json.loads, text.splitlines())}


@dataclass(frozen=True)
class Given:
    """What a decoder is given for a line."""

    base: bytes
    enhancement: bytes | None
    reference: FrameSymbols | None


class KitReader:
    """Reads lines, with what they need."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self.vectors = read_lines((KIT / "vectors.jsonl").read_text())
        self.held = cache(lambda name: self.read(self.vectors[name]))

    def read(self, line: Line) -> FrameSymbols:
        """What a reader holds after a line; a BitstreamError if it is refused."""
        given = self.given(line)
        return self._decoder.decode_symbols(given.base, given.enhancement, given.reference)

    def given(self, line: Line) -> Given:
        """The containers and the reference of a line."""
        bitstream, enhancement = base64.b64decode(line["container"]), None
        if "base" in line:
            line = self.vectors[line["base"]]
            bitstream, enhancement = base64.b64decode(line["container"]), bitstream
        reference = self.held(line["reference"]) if "reference" in line else None
        return Given(bitstream, enhancement, reference)
