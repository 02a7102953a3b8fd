"""Mutated containers through the parser and the decoder.

Of both shipped models: the narrowest and the widest level, a whole quality (version 1, if the prior
is factorized) and a fraction (version 2), bases and enhancements; beside them the golden containers
of separate streams. Half of the mutants have every checksum made right again, as a hostile sender's
have. A mutant must decode to what its header says or raise a BitstreamError.
"""

import argparse
import collections
import random
import resource
import time

import google_crc32c
import numpy as np

from bench.chaos.mutate import mutate
from bench.chaos.rig import ROOT, record
from slimcodec.container import HEADER_BYTES, SECTION_HEADER_BYTES
from slimcodec.decode import Decoder
from slimcodec.encode import Encoder
from slimcodec.errors import BitstreamError
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.find import find_model
from slimcodec.model.load import load_codec_artifact

MODELS = ("slim-n", "slim-h")
SEPARATE = ROOT / "tests/vectors/version_2"
MAX_PIXELS = 2**18
ADDRESS_SPACE = 8 * 2**30  # bytes
CRC_BYTES = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)


def run(arguments: argparse.Namespace) -> None:
    """Count how mutants end, within bounds of memory."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    ends, slowest = decode_mutants(arguments.cases, arguments.seed)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    limits = {"slowest": f"{1000 * slowest:.0f} ms", "peak": f"{peak} MB"}
    record("mutated containers", arguments.cases, {**dict(sorted(ends.items())), **limits})


def decode_mutants(cases: int, seed: int) -> tuple[collections.Counter[str], float]:
    """How so many mutants end, and the seconds of the slowest.

    Whatever is neither a picture nor a BitstreamError counts as a FAULT and is printed.
    """
    dice = random.Random(seed)
    targets = _targets()
    ends: collections.Counter[str] = collections.Counter()
    slowest = 0.0
    for number in range(cases):
        decoder, base, enhancement = dice.choice(targets)
        golden = enhancement or base
        mutant = mutate(golden, dice)
        is_mended = number % 2 == 0
        if is_mended:
            mutant = mend(mutant)
        pair = (mutant, None) if enhancement is None else (base, mutant)
        started = time.perf_counter()
        try:
            latent = decoder.decode_latent(*pair)
        except BitstreamError as exc:
            end = type(exc).__name__
        except Exception as exc:
            end = f"FAULT {type(exc).__name__}"
            print(f"{exc!r:.300}\n{mutant.hex()}", flush=True)
        else:
            end = "decoded"
            if not np.isfinite(latent.y_hat).all():
                end = "FAULT not finite"
            elif not is_mended and mutant != golden:
                end = "FAULT damaged, decoded"
        ends[end] += 1
        slowest = max(slowest, time.perf_counter() - started)
    return ends, slowest


def _targets() -> list[tuple[Decoder, bytes, bytes | None]]:
    """Decoders with the containers that they can read: a base, and perhaps its enhancement."""
    runtime, targets = OpenVinoRuntime(1, "f32"), []
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    for name in MODELS:
        codec = load_codec_artifact(find_model("codec", name))
        encoder, decoder = Encoder(codec, runtime), Decoder(codec, runtime, MAX_PIXELS)
        for quality in (1.0, 2.5):
            base = encoder.encode(image, 0, quality).bitstream
            wide = encoder.encode(image, len(codec.levels) - 1, quality).bitstream
            enhancement = encoder.enhance(image, base).bitstream
            targets += [(decoder, base, None), (decoder, wide, None), (decoder, base, enhancement)]
    decoder = Decoder(load_codec_artifact(SEPARATE / "separate"), runtime, MAX_PIXELS)
    base, lift = ((SEPARATE / f"separate_{part}.slw").read_bytes() for part in ("0", "1_2"))
    return [*targets, (decoder, base, None), (decoder, base, lift)]


def mend(mutant: bytes) -> bytes:
    """Return it with the checksums of header and sections as they should be."""
    data, at = bytearray(mutant), HEADER_BYTES
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
