"""How the conformance kit of version 3 was made; see README.md.

PYTHONPATH=shared:tests python tests/vectors/make_vectors_3.py DIRECTORY
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import struct
import sys
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from slimcodec.container import Container, Section, pack_container
from slimcodec.context.coder import ContextCoder
from slimcodec.context.prior import ContextPrior, save_context
from slimcodec.context.steps import Given
from slimcodec.context.walk import Walk
from slimcodec.entropy.steps import StepEncoder
from slimcodec.entropy.symbol_tables import SymbolTables
from slimcodec.entropy.tables import Tables, save_tables
from slimcodec.symbols import FrameSymbols
from support.models.toy_context import laplace_tables, toy_context

FINGERPRINT = bytes.fromhex("fedcba9876543210")
ENDS, WIDTHS, QUALITIES = (2, 4, 6, 8, 12), (4, 8, 12), 4
STRIDE = 16  # and the multiple that sides are padded to: grids of odd sides
LACKING = ("mean_1_0", "inter_2_1", "inter_mean_0_2", "inter_mean_3_0", "inter_4_0", "mean_4_1")
HW = (40, 70)
CRC_BYTES = 4

Latent = NDArray[np.float64]  # (M, h, w), before any gain
Modes = Literal["cheaper", "alone", "differences"]


@dataclass(frozen=True)
class Vector:
    """A container, what its reader needs, and what it holds then; the latent of its picture."""

    name: str
    bitstream: bytes
    y: Latent
    container: Container
    symbols: FrameSymbols
    needs: Vector | None = None  # the frame that an inter base is coded against
    base: Vector | None = None  # of an enhancement

    @property
    def line(self) -> dict[str, object]:
        """The vector as it is stored."""
        packed = zlib.compress(self.symbols.symbols.astype("<i2").tobytes(), 9)
        return {
            "name": self.name,
            **containers(self.bitstream, self.needs, self.base),
            "depth": self.symbols.depth,
            "digest": self.symbols.digest.hex(),
            "shape": self.symbols.symbols.shape,
            "symbols": base64.b64encode(packed).decode(),
        }


class Coder(ContextCoder):
    """A coder that may be told how to code the places that changed."""

    modes: Modes = "cheaper"

    def _choose(self, given: Given, symbols: NDArray[np.int32]) -> NDArray[np.bool_]:
        chosen = super()._choose(given, symbols)
        return chosen if self.modes == "cheaper" else np.full(len(symbols), self.modes == "alone")


class Kit:
    """Makes vectors, one after another."""

    def __init__(self) -> None:
        self.tables, self.prior = make_gains(), make_prior()
        self._coder = Coder(self.prior, self.tables.gain, WIDTHS)
        self.vectors: list[Vector] = []

    def intra(
        self, name: str, y: Latent, level: int, quality: float, hw: tuple[int, int]
    ) -> Vector:
        """A frame that is coded alone."""
        frame = Container(FINGERPRINT, level, quality, hw, 0, (), prior="context")
        return self._add(name, y, *self._coder.encode(self._gained(y, frame), frame))

    def inter(
        self,
        name: str,
        y: Latent,
        reference: Vector,
        level: int,
        quality: float,
        forced: NDArray[np.bool_] | None = None,
        modes: Modes = "cheaper",
    ) -> Vector:
        """A frame that is coded against another."""
        hw = reference.symbols.image_hw
        frame = Container(FINGERPRINT, level, quality, hw, 0, (), prior="context")
        self._coder.modes = modes
        made = self._coder.encode(self._gained(y, frame), frame, reference.symbols, forced)
        self._coder.modes = "cheaper"
        return self._add(name, y, *made, needs=reference)

    def enhance(self, name: str, base: Vector, level: int) -> Vector:
        """The enhancement of a base."""
        frame = replace(
            base.container, level=level, first_group=base.container.level + 1, sections=()
        )
        frame = replace(frame, reference=None, is_inter=False, changes=b"")
        reference = None if base.needs is None else base.needs.symbols
        v = self._gained(base.y, frame)
        made = self._coder.enhance(v, frame, base.container, base.symbols, reference)
        return self._add(name, base.y, *made, base=base)

    def refine(self, name: str, base: Vector, level: int, quality: float) -> Vector:
        """What brings all places of a frame to a level and quality, against the frame itself."""
        frame = Container(
            FINGERPRINT, level, quality, base.symbols.image_hw, 0, (), prior="context"
        )
        held = base.symbols
        coarser = (held.levels < level) | (held.qualities < 256 * quality)
        made = self._coder.encode(self._gained(base.y, frame), frame, held, coarser)
        return self._add(name, base.y, *made, base=base)

    def _gained(self, y: Latent, frame: Container) -> NDArray[np.float32]:
        gain = self.tables.gain_at(frame.quality)[:, np.newaxis, np.newaxis]
        v: NDArray[np.float32] = (y * gain)[: WIDTHS[frame.level]].astype(np.float32)
        return v

    def _add(
        self,
        name: str,
        y: Latent,
        container: Container,
        symbols: FrameSymbols,
        needs: Vector | None = None,
        base: Vector | None = None,
    ) -> Vector:
        bitstream = pack_container(container)
        self.vectors.append(Vector(name, bitstream, y, container, symbols, needs, base))
        return self.vectors[-1]


def make_gains() -> Tables:
    """Gains that are no round numbers; there are no columns of tables."""
    rows = 0.4 * 1.83 ** np.arange(QUALITIES)[:, np.newaxis]
    gain = (rows * (1 + 0.11 * np.arange(WIDTHS[-1]) % 0.5)).astype(np.float32)
    none = np.zeros((QUALITIES, 0), np.int32)
    return Tables(gain, 1 / gain, np.zeros((QUALITIES, 0, 3), np.uint32), none, none)


def make_prior() -> ContextPrior:
    """Weights of every kind, in some steps of some kinds; scales of 0 to 47."""
    random = np.random.default_rng(3)
    toy = toy_context(ENDS, QUALITIES)
    weights = {
        name: random.integers(-70, 110, array.shape).astype(np.int16)
        for name, array in toy.weights.items()
        if name not in LACKING
    }
    bias = random.integers(-9000, 70_000, (2, *toy.bias.shape)).astype(np.int32)
    return replace(
        toy, weights=weights, bias=bias[0], inter_bias=bias[1], tables=cut(laplace_tables())
    )


def cut(tables: SymbolTables) -> SymbolTables:
    """Tables of different lengths and first symbols: the bins that go are added to the escape."""
    rows, offsets = [], []
    for number in range(tables.num_tables):
        frequencies, first = tables.frequencies(number), number % 7
        kept = frequencies[first : len(frequencies) - 1 - number % 5]
        rows.append(np.cumsum([0, *kept, 65_536 - kept.sum()]))
        offsets.append(tables.offset[number] + first)
    cdf = np.zeros((len(rows), max(map(len, rows))), np.uint32)
    for row, stored in zip(rows, cdf, strict=True):
        stored[: len(row)] = row
    lengths = np.array([len(row) for row in rows], np.int32)
    return SymbolTables(cdf, lengths, np.array(offsets, np.int32))


def make_latent(hw: tuple[int, int], seed: int, spread: float = 3.0) -> Latent:
    """The latent of a picture."""
    h, w = (-(-side // STRIDE) for side in hw)
    scale = spread / (1 + np.arange(WIDTHS[-1]) / 4)
    y: Latent = np.random.default_rng(seed).laplace(0, scale[:, None, None], (len(scale), h, w))
    return y


def moved(y: Latent, seed: int, share: float, by: float = 2.0) -> Latent:
    """The latent of a next picture, in which a share of the places is another."""
    random = np.random.default_rng(seed)
    at = random.random(y.shape[1:]) < share
    changed: Latent = y + at * random.laplace(0, by, y.shape)
    return changed


def make_intra(kit: Kit) -> None:
    """Frames alone, and their enhancements."""
    scene = make_latent(HW, 0)
    for quality in (0, 1, 3, 0.5, 1.25, 2 + 255 / 256):
        alone = [kit.intra(f"intra_{n}_q{quality:g}", scene, n, quality, HW) for n in range(3)]
        if quality in (1, 0.5, 1.25):
            for base, level in ((0, 1), (0, 2), (1, 2)):
                kit.enhance(f"lift_{base}_{level}_q{quality:g}", alone[base], level)
    sizes = ((1, 1), (1, 200), (200, 1), (16, 16), (17, 16), (33, 47), (100, 5), (128, 96))
    for number, hw in enumerate((*sizes, (200, 320), (333, 222))):
        for level in (0, 2):
            quality = number % 3 + level / 8
            name = f"size_{hw[0]}x{hw[1]}_{level}"
            kit.intra(name, make_latent(hw, number), level, quality, hw)
    for level in range(3):
        kit.intra(f"empty_{level}", 0 * scene, level, 2, HW)
    for spread in (40, 300, 5000, 40_000):
        wild = kit.intra(f"escapes_{spread}", make_latent(HW, 5, spread), 2, 1.5, HW)
        kit.inter(f"escapes_{spread}_again", moved(wild.y, 1, 0.3, spread), wild, 2, 1.5)
        kit.inter(f"escapes_{spread}_finer", moved(wild.y, 2, 0.1, 9), wild, 1, 3)


def make_inter(kit: Kit) -> None:
    """Frames against one that was coded alone."""
    scene = make_latent(HW, 0)
    for level in range(3):
        key = kit.intra(f"key_{level}", scene, level, 1.5, HW)
        for percent in (0, 5, 30, 100):
            then = moved(scene, percent, percent / 100)
            kit.inter(f"changed_{percent}_{level}", then, key, level, 1.5)
        for quality in (0, 1.5 - 1 / 256, 1.5 + 1 / 256, 2, 3):
            kit.inter(f"quality_{level}_q{quality:.6g}", moved(scene, 7, 0.2), key, level, quality)
        for other in {0, 1, 2} - {level}:
            then = moved(scene, 8, 0.2)
            between = kit.inter(f"level_{level}_{other}", then, key, other, 1.5)
            kit.inter(f"level_{level}_{other}_back", moved(then, 9, 0.2), between, level, 0.75)
            kit.inter(f"still_{level}_{other}", 0 * scene, empty_of(kit, level), other, 2.5)
        for modes in ("alone", "differences"):
            forced = np.indices(scene.shape[1:]).sum(0) % 3 < 2
            kit.inter(f"{modes}_{level}", moved(scene, 11, 0.3), key, 1, 2.5, forced, modes)
        for base in range(2):
            inter = kit.inter(f"base_{level}_{base}", moved(scene, 12, 0.3), key, base, 2)
            lifted = kit.enhance(f"base_{level}_{base}_lift", inter, 2)
            kit.inter(f"after_lift_{level}_{base}", moved(lifted.y, 13, 0.2), lifted, base, 2)
    pixel = kit.intra("pixel", make_latent((1, 1), 1), 1, 1, (1, 1))
    kit.inter("pixel_again", moved(pixel.y, 1, 1.0), pixel, 2, 2)
    kit.inter("pixel_still", pixel.y, pixel, 1, 1)


def empty_of(kit: Kit, level: int) -> Vector:
    """The frame of zeros at a level."""
    return next(vector for vector in kit.vectors if vector.name == f"empty_{level}")


def make_chains(kit: Kit) -> None:
    """Frames against frames against frames."""
    hw = (70, 110)
    points = itertools.cycle([(0, 1.0), (2, 1.75), (1, 0.25), (0, 3.0), (2, 0.5), (1, 1.0)])
    before = kit.intra("chain_0", make_latent(hw, 20), 1, 1, hw)
    for number, (level, quality) in zip(range(1, 15), points, strict=False):
        then = moved(before.y, 20 + number, 0.15)
        before = kit.inter(f"chain_{number}", then, before, level, quality)
        if number % 4 == 0 and level < 2:
            before = kit.enhance(f"chain_{number}_lift", before, 2)
    small = kit.intra("deep_0", make_latent((16, 48), 40), 2, 2, (16, 48))
    for number in range(1, 26):
        small = kit.inter(f"deep_{number}", moved(small.y, 40 + number, 0.3), small, 2, 2)
    empty = empty_of(kit, 0)
    still = kit.inter("still", empty.y, empty, 1, 2)
    kit.inter("after_still", moved(empty.y, 80, 0.3), kit.enhance("still_lift", still, 2), 1, 2)


def make_refined(kit: Kit) -> None:
    """Frames of all kinds, and what takes the place of their enhancements: it refers to the frame
    itself, or decodes alone.
    """
    key = kit.intra("own", make_latent(HW, 90), 1, 1, HW)
    inter = kit.inter("own_inter", moved(key.y, 91, 0.3), key, 0, 0.5)
    finer = kit.inter("own_finer", moved(inter.y, 92, 0.2), inter, 2, 2)
    still = kit.inter("own_still", finer.y, finer, 0, 0, np.zeros(key.y.shape[1:], np.bool_))
    frames = {"own": key, "own_inter": inter, "own_finer": finer, "own_still": still}
    for name, frame in frames.items():
        for level, quality in ((2, 2.0), (2, 2.75), (2, 3.0)):
            kit.refine(f"{name}_refined_q{quality:g}", frame, level, quality)
    kit.refine("own_refined_1", key, 1, 2.5)
    alone = Kit().intra("", inter.y, 2, 3, HW)
    kit.vectors.append(replace(alone, name="own_inter_refined_alone", base=inter))


def containers(
    bitstream: bytes, reference: Vector | None = None, base: Vector | None = None
) -> dict[str, str]:
    """The fields of a line that a reader is given."""
    fields = {"container": base64.b64encode(bitstream).decode()}
    if reference is not None:
        fields["reference"] = reference.name
    if base is not None:
        fields["base"] = base.name
    return fields


def make_refused(kit: Kit) -> list[dict[str, str]]:
    """Containers that a reader must refuse, with the reason; their checksums are right but one."""
    known = {vector.name: vector for vector in kit.vectors}
    intra, inter, lift = known["intra_1_q1"], known["changed_30_1"], known["lift_0_1_q1"]
    key, lines = known["key_1"], []

    def add(
        name: str,
        why: str,
        bitstream: bytes,
        needs: Vector | None = None,
        base: Vector | None = None,
    ) -> None:
        lines.append({"name": name, **containers(bitstream, needs, base), "why": why})

    def header(name: str, why: str, at: int, value: bytes) -> None:
        body = bytearray(intra.bitstream[:-CRC_BYTES])
        body[at : at + len(value)] = value
        add(name, why, sealed(bytes(body)))

    other = bytes([intra.bitstream[40] ^ 1])
    flipped = intra.bitstream[:40] + other + intra.bitstream[41:]
    add("bit", "its checksum is of other bytes", flipped)
    add("cut", "it ends early", intra.bitstream[:-7])
    add("cut_header", "its header ends early", sealed(intra.bitstream[:18]))
    header("magic", "another magic", 3, b"V")
    header("version", "a later version", 4, b"\4")
    header("kind_bit_1", "a kind that is not known", 5, b"\x22")
    header("kind_bit_3", "a kind that is not known", 5, b"\x28")
    header("prior", "a prior that is not known", 5, b"\x30")
    header("prior_1", "a prior that is not of this version", 5, b"\x10")
    header("kind_base", "a base that begins with group 1", 6, b"\x11")
    header("kind_enhancement", "an enhancement that begins with group 0", 5, b"\x21")
    header("level", "a level that the model lacks", 6, b"\3")
    header("quality", "a quality that the model lacks", 7, struct.pack("<H", 3 * 256 + 1))
    header("fingerprint", "another model", 9, b"\0")
    header("height", "no pixel", 17, b"\0\0")
    header("large", "more pixels than a container may have", 17, struct.pack("<HH", 9000, 9000))
    header("holds", "fewer bytes than the symbols can be", 17, struct.pack("<HH", 8192, 8192))

    lower, upper = (section.data for section in intra.container.sections)
    head, length = intra.bitstream[:21], length_of(lower)
    longer = length[:-1] + bytes([length[-1] | 0x80, 0])
    add("length_long", "a length of more bytes", sealed(head + longer + lower + upper))
    add("length_endless", "a length of five bytes", sealed(head + b"\xff\xff\xff\xff\1" + lower))
    add("length_beyond", "a section that ends beyond", sealed(head + b"\xff\x7f" + lower + upper))
    add("left", "bytes that are left", sealed(intra.bitstream[:-CRC_BYTES] + b"\1"))
    add("zero", "data that end in a zero byte", sealed(intra.bitstream[:-CRC_BYTES] + b"\0"))
    narrow = known["intra_0_q1"]
    add("few", "sections that end early", sealed(narrow.bitstream[: -CRC_BYTES - 9]))

    add("no_reference", "no reference is given", inter.bitstream)
    add("other_reference", "another reference", inter.bitstream, known["key_2"])
    add("other_size", "another reference", inter.bitstream, known["chain_0"])
    add("enhancement_alone", "an enhancement without its base", lift.bitstream)
    add("other_base", "another base", lift.bitstream, None, known["intra_0_q0"])
    add("other_group", "groups between base and enhancement", lift.bitstream, None, intra)
    scene = make_latent(HW, 77)
    twin = Kit().intra("twin", scene, 0, 1, HW)
    frame = replace(lift.container, reference=twin.symbols.digest)
    add("twin", "another base", pack_container(frame), None, narrow)
    frame = replace(lift.container, is_inter=True)
    add("kinds", "inter and intra of one frame", pack_container(frame), None, narrow)

    for name, why, data in bad_changes(kit):
        add(name, why, pack_container(replace(inter.container, changes=data)), key)
    for symbol in (32_768, -32_768):
        frame = replace(known["size_1x1_0"].container, sections=(one_symbol(kit, symbol),))
        add(f"symbol_{symbol}", "a symbol that is out of range", pack_container(frame))

    refined, own = known["own_inter_refined_q2"], known["own_finer"]
    add("refined_other", "another base", refined.bitstream, None, own)
    add("refined_alone", "its base is not given", refined.bitstream)
    add("refined_size", "another picture", known["size_33x47_2"].bitstream, None, own)
    add("refined_narrower", "narrower than its base", known["own"].bitstream, None, own)
    coarser = kit.refine("coarser", own, 2, 1)
    kit.vectors.remove(coarser)
    add("refined_coarser", "coarser than its base", coarser.bitstream, None, own)
    return lines


def bad_changes(kit: Kit) -> list[tuple[str, str, bytes]]:
    """Data of changes that no encoder writes."""
    made = []
    for flag in (2, -1):
        coder = StepEncoder()
        coder.add(np.array([flag], np.int32), kit.prior.change_tables, np.array([5]))
        made.append((f"flag_{flag}", "an escaped flag", coder.finish()))
    return [*made, ("flags_left", "flags, and something more", b"\1" * 40)]


def one_symbol(kit: Kit, symbol: int) -> Section:
    """The section of level 0 of one place, whose first symbol is this and all others are 0."""
    walk, coder = Walk(kit.prior, 0.0, (1, 1), WIDTHS[0]), StepEncoder()
    for step in walk.steps(0, WIDTHS[0]):
        index, mean = walk.alone(step, step.places)
        symbols = np.zeros(index.shape, np.int32)
        symbols[step.places == 0, 0] = 0 if step.chunk.number else symbol
        coder.add((symbols - mean).ravel(), kit.prior.tables, index.ravel())
        walk.put(step, symbols)
    return Section(0, 0, coder.finish())


def sealed(body: bytes) -> bytes:
    """Bytes with the checksum that they must have."""
    crc: int = google_crc32c.value(body)
    return body + crc.to_bytes(CRC_BYTES, "little")


def length_of(data: bytes) -> bytes:
    """The length of data as LEB128."""
    return (
        bytes([len(data) & 0x7F | 0x80, len(data) >> 7]) if len(data) > 0x7F else bytes([len(data)])
    )


def write_codec(folder: Path, kit: Kit) -> None:
    """Write the kit's model, which has no graphs."""
    folder.mkdir(parents=True)
    save_tables(folder / "tables.npz", kit.tables)
    save_context(folder / "context.npz", kit.prior)
    files = {
        path.name: {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "bytes": path.stat().st_size,
        }
        for path in sorted(folder.iterdir())
    }
    manifest = {
        "format": 1,
        "kind": "codec",
        "name": "golden",
        "version": 3,
        "fingerprint": FINGERPRINT.hex(),
        "pad_multiple": STRIDE,
        "latent_stride": STRIDE,
        "levels": [
            {"level": level, "latent_channels": channels, "kmac_per_pixel": 0}
            for level, channels in enumerate(WIDTHS)
        ],
        "qualities": QUALITIES,
        "streams": "nested",
        "prior": "context",
        "files": files,
        "licence": "Apache-2.0",
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


def write_lines(path: Path, lines: Iterable[Mapping[str, object]]) -> None:
    """Write JSON, one object a line."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def main() -> None:
    """Write everything into the directory named on the command line."""
    directory = Path(sys.argv[1])
    kit = Kit()
    make_intra(kit)
    make_inter(kit)
    make_chains(kit)
    make_refined(kit)
    write_codec(directory / "codec", kit)
    write_lines(directory / "vectors.jsonl", [vector.line for vector in kit.vectors])
    write_lines(directory / "refused.jsonl", make_refused(kit))


if __name__ == "__main__":
    main()
