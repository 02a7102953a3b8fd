"""Mutated stream files through the reader of streams and the decoder of sequences.

A stream of keys, changes, refinements and a still frame, of the shipped model with the context
prior. Half of the mutants are bytes changed anywhere; the others are written anew from records that
were lost, doubled, moved or changed, with every checksum right, as a hostile sender's are. Each
record must decode to the symbols that its container has in the whole stream, or be refused by a
BitstreamError; other containers may decode only where their checksums were made right.
"""

import argparse
import collections
import io
import random
import resource
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.chaos.containers import ADDRESS_SPACE, MAX_PIXELS, mend
from bench.chaos.mutate import mutate
from bench.chaos.rig import record
from slimcodec.decode import Decoder
from slimcodec.encode import Encoder
from slimcodec.errors import BitstreamError
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.find import find_model
from slimcodec.model.load import load_codec_artifact
from slimcodec.sequence import SequenceDecoder, SequenceEncoder
from slimcodec.stream import Record, StreamHeader, StreamReader, StreamWriter

MODEL = "slim"
IMAGE_HW = (32, 48)
FRAMES = 6
KEY_AT = 4  # frames; the second one
REFINE_SECONDS = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cases", type=int, default=10_000, help="files")
    parser.add_argument("--seed", type=int, default=1)


def run(arguments: argparse.Namespace) -> None:
    """Count how their records end, within bounds of memory."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    ends, slowest = read_mutants(arguments.cases, arguments.seed)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    limits = {"slowest file": f"{1000 * slowest:.0f} ms", "peak": f"{peak} MB"}
    record("mutated streams", arguments.cases, {**dict(sorted(ends.items())), **limits})


def read_mutants(cases: int, seed: int) -> tuple[collections.Counter[str], float]:
    """How the records of so many mutants end, and the seconds of the slowest file.

    Whatever neither decodes as it should nor is refused counts as a FAULT and is printed.
    """
    dice, runtime = random.Random(seed), OpenVinoRuntime(1, "f32")
    codec = load_codec_artifact(find_model("codec", MODEL))
    decoder = Decoder(codec, runtime, MAX_PIXELS)
    whole = _Stream.of(codec, Encoder(codec, runtime), decoder)
    ends: collections.Counter[str] = collections.Counter()
    slowest = 0.0
    for number in range(cases):
        is_mended = number % 2 == 0
        mutant = whole.written_anew(dice) if is_mended else mutate(whole.data, dice)
        started = time.perf_counter()
        try:
            ends.update(whole.ends(mutant, SequenceDecoder(decoder), is_mended=is_mended))
        except Exception as exc:
            ends[f"FAULT {type(exc).__name__}"] += 1
            print(f"{exc!r:.300}\n{mutant.hex()}", flush=True)
        slowest = max(slowest, time.perf_counter() - started)
    return ends, slowest


@dataclass(frozen=True)
class _Stream:
    data: bytes
    header: StreamHeader
    records: tuple[Record, ...]
    digests: dict[bytes, bytes]  # of its symbols, by container

    @classmethod
    def of(cls, codec: CodecArtifact, encoder: Encoder, decoder: Decoder) -> "_Stream":
        file = io.BytesIO()
        header = StreamHeader(codec.fingerprint, IMAGE_HW)
        writer, reader = StreamWriter(file, header), SequenceDecoder(decoder)
        sequence = SequenceEncoder(
            encoder, 0, 1.0, KEY_AT, key_quality=3.0, refine_after_seconds=REFINE_SECONDS
        )
        digests = {}
        for number, image in enumerate(_pictures(), 1):
            sent = [sequence.encode(image, float(number)), sequence.refine(image, float(number))]
            for frame in filter(None, sent):
                sequence.received(frame)
                bitstream = frame.encoded.bitstream
                writer.write(float(number), None if frame.refines else number, bitstream)
                symbols = reader.decode(bitstream).symbols
                assert symbols is not None
                digests[bitstream] = symbols.digest
        data = file.getvalue()
        return cls(data, header, tuple(StreamReader(io.BytesIO(data)).records(print)), digests)

    def written_anew(self, dice: random.Random) -> bytes:
        """A stream of right checksums whose records are not what they were."""
        records = list(self.records)
        for _ in range(dice.choice((1, 1, 2, 4))):
            at = dice.randrange(len(records))
            match dice.randrange(5):
                case 0 if len(records) > 1:
                    del records[at]
                case 1:
                    records.insert(at, dice.choice(records))
                case 2:
                    records[at] = replace(records[at], seconds=float(dice.randrange(2**40)))
                case _:
                    mutant = mend(mutate(records[at].container, dice))
                    records[at] = replace(records[at], container=mutant)
        file = io.BytesIO()
        header = self.header
        if dice.random() < 0.05:
            header = StreamHeader(dice.randbytes(8), (dice.randrange(1, 2**16), IMAGE_HW[1]))
        writer = StreamWriter(file, header)
        for each in records:
            writer.write(each.seconds, each.number, each.container)
        return file.getvalue()

    def ends(self, mutant: bytes, decoder: SequenceDecoder, *, is_mended: bool) -> list[str]:
        """How its records end, and what its reader tells."""
        try:
            reader = StreamReader(io.BytesIO(mutant))
        except BitstreamError as exc:
            return [f"file: {type(exc).__name__}"]
        ends: list[str] = []
        for each in reader.records(lambda _: ends.append("passed over")):
            try:
                reader.parse(each)
                received = decoder.decode(each.container)
            except BitstreamError as exc:
                ends.append(type(exc).__name__)
                continue
            known = self.digests.get(each.container)
            if not np.isfinite(received.latent.y_hat).all():
                ends.append("FAULT not finite")
            elif known is None and not is_mended:
                ends.append("FAULT damaged, decoded")
            elif known is not None and received.symbols and received.symbols.digest != known:
                ends.append("FAULT other symbols")
            else:
                ends.append("decoded" if known else "decoded, another container")
        return ends


def _pictures() -> list[NDArray[np.uint8]]:
    """A scene in which a box moves, then stands still."""
    scene = np.random.default_rng(0).integers(0, 256, (*IMAGE_HW, 3), np.uint8)
    pictures = []
    for number in range(FRAMES):
        shown = scene.copy()
        left = 8 * min(number, 2)
        shown[8:24, left : left + 16] = 255
        pictures.append(shown)
    return pictures
