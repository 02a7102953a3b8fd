"""Model folders from a stranger: mutated files whose digests are right, loaded and used.

Each case runs in a process of its own with 6 GB of address space and 40 s of processor time.
"""

import argparse
import collections
import hashlib
import json
import random
import shutil
import tempfile
from pathlib import Path

import numpy as np

from bench.chaos.mutate import ends_of, mutate
from bench.chaos.rig import record
from slimcodec.decode import Decoder
from slimcodec.encode import Encoder
from slimcodec.errors import ModelError
from slimcodec.graph.openvino_runtime import OpenVinoRuntime, load_openvino
from slimcodec.model.find import DEFAULT_MODEL, find_model, models_root
from slimcodec.model.load import load_codec_artifact, load_detector_of
from slimdetect.detector import Detector
from slimdetect.scores import class_ids_of
from slimdetect.triage import TriageSession

FILES = (
    *("manifest.json", "profile.json", "triage.json", "tables.npz", "hyper.npz", "g_a_0.onnx"),
    *("g_s.onnx", "h_a_0.onnx", "h_s_0.onnx", "feature_transform.onnx", "tail.onnx"),
    *("triage.onnx", "weights.safetensors"),
)
WORDS = (
    b"null",
    b"-1",
    b"NaN",
    b"1e999",
    b"9" * 5000,
    b"[" * 900 + b"]" * 900,
    b'"\\ud800"',
    b"{}",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)


def run(arguments: argparse.Namespace) -> None:
    """Count how cases end, by the file that was mutated."""
    load_openvino()  # once for all children
    ends: collections.Counter[str] = collections.Counter()
    for number in range(arguments.cases):
        name, end = _case(random.Random(f"{arguments.seed} {number}"))
        ends[end] += 1
        if end.startswith("FAULT"):
            print(f"case {number}, {name}: {end}", flush=True)
    record("mutated model folders", arguments.cases, dict(sorted(ends.items())))


def _case(dice: random.Random) -> tuple[str, str]:
    source = find_model("codec", DEFAULT_MODEL)
    name = dice.choice([name for name in FILES if (source / name).exists()])
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / source.parent.name / source.name
        shutil.copytree(source, folder)
        path = folder / name
        path.write_bytes(spoil(path.read_bytes(), dice, is_text=name.endswith("json")))
        renew_digests(folder)
        (end,) = ends_of([lambda: use(folder)], (ModelError,))
        return name, end


def spoil(data: bytes, dice: random.Random, *, is_text: bool) -> bytes:
    """Return mutated bytes; of JSON, half of the time with another value."""
    if not is_text or dice.random() < 0.5:
        return mutate(data, dice)
    begin = data.find(b":", dice.randrange(len(data))) + 1
    stops = [stop for mark in b",}\n" if (stop := data.find(mark, begin)) > 0]
    return data[:begin] + dice.choice(WORDS) + data[min(stops, default=len(data)) :]


def renew_digests(folder: Path) -> None:
    """Make the manifest fit the files, if it still can be read."""
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_bytes())
        for name, record in manifest["files"].items():
            data = (folder / name).read_bytes()
            record.update(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
        path.write_text(json.dumps(manifest))
    except Exception:  # the manifest itself is the attack
        return


def use(folder: Path) -> None:
    """Do with a model what edge, detector and review do."""
    codec = load_codec_artifact(folder)
    runtime = OpenVinoRuntime(1, "f32")
    decoder, image = Decoder(codec, runtime), np.zeros((64, 64, 3), np.uint8)
    latent = decoder.decode_latent(Encoder(codec, runtime).encode(image, 0, 0).bitstream)
    decoder.decode_image(latent)
    detector = load_detector_of(codec, models_root())
    Detector(codec, detector, runtime).detect_latents([latent])
    if "triage.onnx" in codec.manifest.files:
        session = TriageSession(codec, runtime)
        session.presence([latent], class_ids_of(session.spec.labels, detector.names))
