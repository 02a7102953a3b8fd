"""Mutated containers through the parser and the decoder.

Of toy codecs: the narrowest and the widest level, a whole quality (version 1, if the prior
is factorized) and a fraction (version 2), bases and enhancements; beside them the golden containers
of separate streams, and the frames of version 3 with the references that they need, or with none,
another frame's, one that is too deep, or one of another model. Half of the mutants have every
checksum made right again, as a hostile sender's have. A mutant must decode to what its header says
or raise a BitstreamError; whatever was coded against another reference must raise one.
"""

import argparse
import collections
import random
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import google_crc32c
import numpy as np

from bench.chaos.mutate import mutate
from bench.chaos.rig import ROOT, record
from slimcodec.container import (
    FINGERPRINT_BYTES,
    HEADER_BYTES,
    MAGIC,
    SECTION_HEADER_BYTES,
    Prior,
    parse_container,
)
from slimcodec.decode import Decoder
from slimcodec.encode import Encoder
from slimcodec.errors import BitstreamError
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.load import load_codec_artifact
from slimcodec.symbols import MAX_DEPTH, FrameSymbols
from support.conformance import KIT, Given, KitReader
from support.models.toy_artifact import make_toy_codec

OLDER: tuple[Prior, ...] = ("factorized", "hyperprior")  # priors of versions 1 and 2
SEPARATE = ROOT / "tests/vectors/version_2"
MAX_PIXELS = 2**18
ADDRESS_SPACE = 8 * 2**30  # bytes
CRC_BYTES = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--version", type=int, help="of containers; all")


def run(arguments: argparse.Namespace) -> None:
    """Count how mutants end, within bounds of memory."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    ends, slowest = decode_mutants(arguments.cases, arguments.seed, arguments.version)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    limits = {"slowest": f"{1000 * slowest:.0f} ms", "peak": f"{peak} MB"}
    record("mutated containers", arguments.cases, {**dict(sorted(ends.items())), **limits})


@dataclass(frozen=True)
class Target:
    """What a decoder can read."""

    decoder: Decoder
    given: Given
    frames: Sequence[FrameSymbols] = ()  # of which references are drawn

    @property
    def golden(self) -> bytes:
        """The container that is mutated."""
        return self.given.enhancement or self.given.base

    def drawn_reference(self, dice: random.Random) -> FrameSymbols | None:
        """The reference, mostly."""
        if not self.frames:
            return None
        right = self.given.reference
        other = dice.choice(self.frames)
        while right is not None and other.digest == right.digest:
            other = dice.choice(self.frames)
        some = right or other
        wrong = (
            None,
            other,
            replace(some, depth=MAX_DEPTH),
            replace(some, fingerprint=dice.randbytes(len(some.fingerprint))),
        )
        return dice.choice((*wrong, *[right] * 12))


def decode_mutants(
    cases: int, seed: int, version: int | None = None
) -> tuple[collections.Counter[str], float]:
    """How so many mutants end, and the seconds of the slowest.

    Whatever is neither a picture nor a BitstreamError counts as a FAULT and is printed.
    """
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        targets = _targets(Path(folder))
        chosen = [one for one in targets if version in (None, one.golden[len(MAGIC)])]
        return _decode_mutants(chosen, cases, dice)


def _decode_mutants(
    targets: Sequence[Target], cases: int, dice: random.Random
) -> tuple[collections.Counter[str], float]:
    ends: collections.Counter[str] = collections.Counter()
    slowest = 0.0
    for number in range(cases):
        target = dice.choice(targets)
        given, reference = target.given, target.drawn_reference(dice)
        mutant = mutate(target.golden, dice)
        is_mended = number % 2 == 0
        if is_mended:
            mutant = mend(mutant)
        base, enhancement = (given.base, mutant) if given.enhancement else (mutant, None)
        started = time.perf_counter()
        try:
            latent = target.decoder.decode_latent(base, enhancement, reference)
        except BitstreamError as exc:
            end = type(exc).__name__
        except Exception as exc:
            end = f"FAULT {type(exc).__name__}"
            print(f"{exc!r:.300}\n{mutant.hex()}", flush=True)
        else:
            end = "decoded"
            if not np.isfinite(latent.y_hat).all():
                end = "FAULT not finite"
            elif not is_mended and mutant != target.golden:
                end = "FAULT damaged, decoded"
            elif reference is not given.reference and _is_inter(base):
                end = "FAULT of another reference, decoded"
        ends[end] += 1
        slowest = max(slowest, time.perf_counter() - started)
    return ends, slowest


def _is_inter(bitstream: bytes) -> bool:
    return parse_container(bitstream, bytes(FINGERPRINT_BYTES), (1, 1)).is_inter


def _targets(folder: Path) -> list[Target]:
    runtime, targets = OpenVinoRuntime(1, "f32"), []
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    for prior in OLDER:
        codec = load_codec_artifact(make_toy_codec(folder / prior, prior=prior))
        encoder, decoder = Encoder(codec, runtime), Decoder(codec, runtime, MAX_PIXELS)
        for quality in (1.0, 2.5):
            base = encoder.encode(image, 0, quality).bitstream
            wide = encoder.encode(image, len(codec.levels) - 1, quality).bitstream
            enhancement = encoder.enhance(image, base).bitstream
            pairs = ((base, None), (wide, None), (base, enhancement))
            targets += [Target(decoder, Given(first, then, None)) for first, then in pairs]
    decoder = Decoder(load_codec_artifact(SEPARATE / "separate"), runtime, MAX_PIXELS)
    base, lift = ((SEPARATE / f"separate_{part}.slw").read_bytes() for part in ("0", "1_2"))
    targets += [Target(decoder, Given(base, part, None)) for part in (None, lift)]
    decoder = Decoder(load_codec_artifact(KIT / "codec"), runtime, MAX_PIXELS)
    kit = KitReader(decoder)
    frames = [kit.held(name) for name in kit.vectors]
    return [*targets, *(Target(decoder, kit.given(line), frames) for line in kit.vectors.values())]


def mend(mutant: bytes) -> bytes:
    """Return it with the checksums as they should be: of the whole, or of header and sections."""
    data, at = bytearray(mutant), HEADER_BYTES
    if data[len(MAGIC) :][:1] == b"\3":
        return bytes(data[:-CRC_BYTES] + _crc(data[:-CRC_BYTES]))
    if len(data) < HEADER_BYTES:
        return mutant
    data[at - CRC_BYTES : at] = _crc(data[: at - CRC_BYTES])
    while at + SECTION_HEADER_BYTES <= len(data):
        start = at + SECTION_HEADER_BYTES
        end = start + int.from_bytes(data[at : at + 4], "little")
        data[start - CRC_BYTES : start] = _crc(data[at : start - CRC_BYTES] + data[start:end])
        at = end
    return bytes(data)


def _crc(data: bytearray) -> bytes:
    crc: int = google_crc32c.value(bytes(data))
    return crc.to_bytes(CRC_BYTES, "little")
