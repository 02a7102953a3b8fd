"""Model folders from a stranger: mutated files whose digests are right, loaded and used.

    python -m bench.model_folders --cases 500 [--seed 1]

Each case runs in a process of its own with 6 GB of address space and 40 s of processor time. Prints
a CSV of how many cases ended how: `used`, `ModelError`, another error, or a signal.
"""

import argparse
import collections
import csv
import hashlib
import json
import os
import random
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from slimcodec.decode import Decoder
from slimcodec.encode import Encoder
from slimcodec.errors import ModelError
from slimcodec.graph.openvino_runtime import OpenVinoRuntime, load_openvino
from slimcodec.model.find import find_model, models_root
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
ADDRESS_SPACE = 6 * 2**30
CPU_SECONDS = 40


def main() -> None:
    """Count how cases end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    load_openvino()  # once for all children
    ends = collections.Counter(
        _case(random.Random(f"{arguments.seed} {number}")) for number in range(arguments.cases)
    )
    out = csv.writer(sys.stdout)
    out.writerow(["file", "end", "cases"])
    out.writerows((*key, count) for key, count in sorted(ends.items()))


def _case(dice: random.Random) -> tuple[str, str]:
    source = find_model("codec", dice.choice(("slim-n", "slim-h")))
    name = dice.choice([name for name in FILES if (source / name).exists()])
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / source.parent.name / source.name
        shutil.copytree(source, folder)
        path = folder / name
        path.write_bytes(mutate(path.read_bytes(), dice, is_text=name.endswith("json")))
        renew_digests(folder)
        return name, _end_of(lambda: use(folder))


def mutate(data: bytes, dice: random.Random, *, is_text: bool) -> bytes:
    """Return bytes with a few of them changed, cut off, doubled or added; of JSON also a value."""
    place, end = sorted((dice.randrange(len(data)), dice.randrange(len(data))))
    way = dice.choice(("flip", "cut", "double", "drop", *(["word"] * 3 if is_text else [])))
    if way == "cut":
        return data[:place]
    if way == "double":
        return data[:end] + data[place:]
    if way == "drop":
        return data[:place] + data[end:]
    if way == "word":
        begin = data.find(b":", place) + 1
        stops = [stop for mark in b",}\n" if (stop := data.find(mark, begin)) > 0]
        return data[:begin] + dice.choice(WORDS) + data[min(stops, default=len(data)) :]
    changed = bytearray(data)
    for _ in range(dice.randint(1, 8)):
        changed[dice.randrange(dice.choice((min(len(data), 2000), len(data))))] = dice.randrange(
            256
        )
    return bytes(changed)


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


def _end_of(step: Callable[[], None]) -> str:
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        end = "used"
        try:
            step()
        except ModelError:
            end = "ModelError"
        except BaseException as exc:
            end = f"{type(exc).__name__}: {exc}"[:120]
        os.write(writer, end.encode(errors="replace"))
        os._exit(0)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    with open(reader, "rb") as said:
        return said.read().decode() or f"signal {os.waitstatus_to_exitcode(status)}"


if __name__ == "__main__":
    main()
