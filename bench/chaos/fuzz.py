"""Mutated bytes through everything else that reads them.

    pictures    files of ten formats, and the test vectors', through the reader of pictures
    cfg         Darknet's configurations, read and built (needs torch)
    weights     Darknet's weights, loaded (needs torch)
    wire        gRPC messages, nine to a stream, against a cloud; then its lists are read
    rest        what schemathesis makes of the API's own description, against a cloud

Whatever ends in anything but its use or an error of its own is a FAULT, and is printed.
"""

import argparse
import collections
import io
import json
import random
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import google_crc32c
import grpc
import numpy as np
from PIL import Image

from bench.chaos.mutate import ends_of, mutate
from bench.chaos.rig import (
    ROOT,
    STREAM_FRAMES,
    fetch,
    metrics,
    record,
    running_cloud,
    token_of,
    token_table,
)
from slimcodec.encode import Encoder
from slimcodec.errors import ImageError
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.image import load_image
from slimcodec.model.find import DEFAULT_MODEL, find_model
from slimcodec.model.load import load_codec_artifact
from slimwire.v1 import ingest_pb2 as pb

Ends: TypeAlias = collections.Counter[str]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "TGA", "JPEG2000", "ICO")
MAX_PIXELS = 2**22
CFGS = ("models/yolo-fastest-street/1/detector.cfg", "studies/detector/yolov3-slim.cfg")
WEIGHTS = "studies/detector/yolo-fastest-stride8"
CASES_OF_A_CHILD = 25  # to fork a process that holds torch takes longer than most cases
MESSAGES_OF_A_STREAM = 9  # at ten damaged frames the cloud ends it
LISTS = ("frames", "cameras", "timeline", "overview", "reviews", "dead-letters")
SCHEMATHESIS = ROOT / "tests/integration/review/documents/schemathesis.toml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", choices=tuple(TARGETS))
    parser.add_argument("--cases", type=int, default=1000, help="of rest: examples an operation")
    parser.add_argument("--seed", type=int, default=1)


def run(arguments: argparse.Namespace) -> None:
    """Count how they end."""
    dice = random.Random(arguments.seed)
    ends = TARGETS[arguments.target](dice, arguments.cases)
    what = f"schemathesis: {arguments.cases} an operation" if arguments.target == "rest" else ""
    record(what or f"mutated {arguments.target}", sum(ends.values()), dict(sorted(ends.items())))


def _pictures(dice: random.Random, cases: int) -> Ends:
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    picture = Image.fromarray(noise)
    exif = picture.getexif()
    exif[0x0112] = 6  # orientation
    files = [path.read_bytes() for path in (ROOT / "tests/vectors/inputs").glob("*.jpg")]
    for name in FORMATS:
        file = io.BytesIO()
        picture.save(file, name, **({"exif": exif} if name in ("JPEG", "PNG", "WEBP") else {}))
        files.append(file.getvalue())
    ends: Ends = collections.Counter()
    warnings.simplefilter("ignore")  # of Pillow, by the hundred
    for _ in range(cases):
        mutant = mutate(dice.choice(files), dice)
        try:
            load_image(mutant, MAX_PIXELS)
            ends["read"] += 1
        except ImageError:
            ends["ImageError"] += 1
        except Exception as exc:
            ends[f"FAULT {type(exc).__name__}"] += 1
            print(f"{exc!r:.200} {mutant[:200].hex()}", flush=True)
    return ends


def _cfg(dice: random.Random, cases: int) -> Ends:
    from slimnets.darknet.cfg import parse_cfg
    from slimnets.darknet.detector import Darknet
    from slimnets.errors import CfgError

    texts = [(ROOT / path).read_bytes() for path in CFGS]

    def case() -> Callable[[], object]:
        text = dice.choice(texts)
        changed = mutate(text, dice) if dice.random() < 0.3 else _another_number(text, dice)
        return lambda: Darknet(parse_cfg(changed.decode(errors="replace")))

    return _in_children(case, cases, (CfgError,))


def _weights(dice: random.Random, cases: int) -> Ends:
    from slimnets.darknet.cfg import parse_cfg, read_cfg_text
    from slimnets.darknet.detector import Darknet
    from slimnets.darknet.weights import load_darknet_weights
    from slimnets.errors import DarknetWeightsError

    model = Darknet(parse_cfg(read_cfg_text(ROOT / f"{WEIGHTS}.cfg")))
    data = (ROOT / f"{WEIGHTS}.weights").read_bytes()

    def load(mutant: bytes) -> None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(mutant)
            file.flush()
            load_darknet_weights(model, file.name)

    def case() -> Callable[[], object]:
        mutant = mutate(data, dice)
        return lambda: load(mutant)

    return _in_children(case, cases, (DarknetWeightsError,))


def _in_children(
    case: Callable[[], Callable[[], object]], cases: int, refusals: tuple[type[Exception], ...]
) -> Ends:
    ends: Ends = collections.Counter()
    for begin in range(0, cases, CASES_OF_A_CHILD):
        steps = [case() for _ in range(begin, min(begin + CASES_OF_A_CHILD, cases))]
        for number, end in enumerate(ends_of(steps, refusals), begin):
            if end.startswith("FAULT"):
                print(f"case {number}: {end}", flush=True)
            ends[end] += 1
    return ends


def _another_number(text: bytes, dice: random.Random) -> bytes:
    """Put a strange number in the place of one."""
    place = dice.choice(list(re.finditer(rb"-?\d+(\.\d+)?", text)))
    strange = dice.choice((b"0", b"-1", b"65536", b"9" * 30, b"nan", b"1e9", b"3", b"7", b"inf"))
    return text[: place.start()] + strange + text[place.end() :]


def _wire(dice: random.Random, cases: int) -> Ends:
    codec = load_codec_artifact(find_model("codec", DEFAULT_MODEL))
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    container = Encoder(codec, OpenVinoRuntime(1)).encode(noise, 0, 2).bitstream
    crc = google_crc32c.value(container)
    now = time.time_ns() // 1000
    hello = pb.Hello(camera_id="fuzz", epoch=now, model_fingerprint=codec.fingerprint)
    frame = pb.Frame(
        sequence=3,
        container=container,
        container_crc32c=crc,
        lane=pb.LANE_LIVE,
        capture_time_unix_us=now,
        capture_time_mono_us=1,
    )
    gap = pb.Gap(gap_number=1, from_time_unix_us=1, to_time_unix_us=2, reason=pb.GAP_REASON_EXPIRED)
    enhancement = pb.Enhancement(sequence=3, container=container, container_crc32c=crc)
    request = pb.StreamFramesRequest
    messages = [
        message.SerializeToString()
        for message in (
            request(frame=frame),
            request(gap=gap),
            request(enhancement=enhancement),
            request(hello=hello),
            request(acceptance=pb.Acceptance(request_id="a")),
            request(refusal=pb.Refusal(request_id="b", detail="c")),
        )
    ]
    greeting = request(hello=hello).SerializeToString()
    ends: Ends = collections.Counter()
    with tempfile.TemporaryDirectory() as scratch, running_cloud(Path(scratch)) as (cloud, at):
        with grpc.insecure_channel(at["grpc"]) as channel:
            talk = channel.stream_stream(STREAM_FRAMES, bytes, bytes)
            for _ in range(cases // MESSAGES_OF_A_STREAM):
                mutants = [mutate(dice.choice(messages), dice) for _ in range(MESSAGES_OF_A_STREAM)]
                try:
                    collections.deque(talk(iter([greeting, *mutants]), timeout=60), maxlen=0)
                    ends["stream OK"] += 1
                except grpc.RpcError as exc:
                    ends[f"stream {exc.code().name}"] += 1
        ends.update(_after(Path(scratch), at["http"], is_alive=cloud.poll() is None))
    return ends


def _rest(dice: random.Random, cases: int) -> Ends:
    tokens = token_table(ada="admin")  # the description says that they are needed
    with (
        tempfile.TemporaryDirectory() as scratch,
        running_cloud(Path(scratch), tokens) as (cloud, at),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", "--config-file", str(SCHEMATHESIS), "run"]
            + [f"{at['http']}/api/v1/openapi.json", "--exclude-path", "/api/v1/events/stream"]
            + ["--header", f"Authorization: Bearer {token_of('ada')}"]
            + ["--max-examples", str(cases), "--seed", str(dice.randrange(1000))]
            + ["--continue-on-failure", "--suppress-health-check", "all", "--no-color"],
            cwd=scratch,
            capture_output=True,
            text=True,
        )
        print(done.stdout[-3000:])
        ends: Ends = collections.Counter()
        for name, value in metrics(at["http"]).items():
            if name.startswith("slim_cloud_review_request_seconds_count"):
                status = name.partition('status="')[2][:3]
                ends[f"FAULT {status}" if status == "500" else status] += int(value)
        ends.update(_after(Path(scratch), at["http"], is_alive=cloud.poll() is None))
    return ends


def _after(folder: Path, http: str, *, is_alive: bool) -> Iterator[str]:
    """What a cloud is like after it: whether it lives, its lists, its log."""
    if not is_alive:
        yield "FAULT the cloud ended"
    for name in LISTS:
        try:
            json.loads(fetch(f"{http}/api/v1/{name}", name="ada"))
        except OSError as exc:
            yield f"FAULT GET {name}: {exc}"
    for line in (folder / "cloud.log").read_text().splitlines():
        try:
            if json.loads(line)["level"] == "ERROR":
                print(line[:500])
                yield "FAULT line of log at ERROR"
        except ValueError:
            yield "FAULT line of log that is no JSON"


TARGETS: dict[str, Callable[[random.Random, int], Ends]] = {
    "pictures": _pictures,
    "cfg": _cfg,
    "weights": _weights,
    "wire": _wire,
    "rest": _rest,
}
