"""`slimwire train triage`: the head of the first rung, trained on what the detector itself finds.

    pictures -triage_views-> y_hat of level 0, the detector's boxes in the uncompressed views
    y_hat -TriageHead-> cells, logits -loss-> weights -average-> triage.onnx, triage.json, manifest

The head goes into the codec's folder: edge and containers know nothing of it, so the fingerprint
stays. Training it again replaces it. A run is described by its folder: started again it keeps the
labels, and goes on from its checkpoint.
"""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from slimcodec.decode import Decoder
from slimcodec.encode import Encoder
from slimcodec.graph.runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact, DetectorArtifact
from slimcodec.whole_file import write_whole
from slimdetect.names import load_names
from slimdetect.session import Detector
from slimdetect.triage import (
    TRIAGE_GRAPH,
    TRIAGE_SPEC,
    TriageSpec,
    any_presence,
    class_ids_of,
)
from slimnets.count import count_macs
from slimnets.triage import CELL_STRIDE, TriageHead, export_triage
from slimtrain.artifact_folder import file_records
from slimtrain.data.pictures import PackedPictures
from slimtrain.data.split import is_reported
from slimtrain.loop.checkpoint import WeightAverage, load_checkpoint, save_checkpoint
from slimtrain.loop.throughput import throughput
from slimtrain.triage.figures import (
    area_under_roc,
    average_precision,
    choose_threshold,
    measure_threshold,
)
from slimtrain.triage.views import LabelledLatent, encode_views, label_views, list_views

MIN_SCORE: Final = 0.3
"""A detection of at least this score is a presence."""
STREET_LABELS: Final = ("person", "bicycle", "car", "motorbike", "bus", "truck")
RECALLS: Final = (0.8, 0.9, 0.95, 0.98, 0.99)
DEFAULT_RECALL: Final = 0.95
_MIN_PICTURES = 20  # of validation with a class, to print its average precision
_NO_SCORE = 0.1  # a best score up to here is an absence; between it and MIN_SCORE, unsure
_WARM_UP = 100  # steps
_WEIGHT_DECAY = 0.02
_AVERAGE = 0.995
_CELL_WEIGHT = 1.0
_LOG_EVERY = 50  # steps
_SAVE_EVERY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class TriageRun:
    """One training run.

    Args:
        out: folder of labels.npz, checkpoint.pt and log.csv.
        labels: what is of interest where nobody says otherwise; thresholds are measured for it. All
            classes where the detector knows none of them.
        steps: optimiser steps of the whole schedule (warm-up, cosine to zero).
        seconds: stop training after this long, with a checkpoint, and leave the model as it was;
            None: run to the end.
        views: crops of each picture.
        batch: views per step.
        learning_rate: peak, AdamW.
        num_threads: of detector and encoder; None: all cores.
    """

    out: Path
    labels: tuple[str, ...] = STREET_LABELS
    steps: int = 2000
    seconds: float | None = None
    views: int = 3
    batch: int = 32
    learning_rate: float = 2e-3
    seed: int = 1
    device: str = "cpu"
    num_threads: int | None = None


def train_triage(
    run: TriageRun,
    codec: CodecArtifact,
    detector: DetectorArtifact,
    training: PackedPictures,
    validation: PackedPictures,
) -> TriageSpec | None:
    """Train (or go on training) and put the head into the codec's folder; None if stopped early.

    Args:
        training, validation: any pictures; labels are not looked at.
    """
    classes, latent_channels = detector.manifest.classes, codec.levels[0].latent_channels
    examples = _examples(run, codec, detector, training, "labels")
    held_out = _examples(run, codec, detector, validation, "labels_validation")
    names = load_names(detector.file("detector.names"), classes)
    labels = tuple(label for label in run.labels if label in names) or names
    torch.manual_seed(run.seed)
    head = TriageHead(latent_channels, classes).to(run.device)
    if not _train(run, codec, head, examples, class_ids_of(labels, names)):
        return None
    reported = np.array([is_reported(validation.names[each.picture]) for each in held_out])
    spec = _measure(run, codec, detector, head, held_out, reported, labels, names)
    write_triage(codec, head, spec)
    return spec


def write_triage(codec: CodecArtifact, head: TriageHead, spec: TriageSpec) -> None:
    """Put a head into a codec's folder and into its manifest; nothing else of it changes."""
    folder = codec.directory
    (folder / TRIAGE_GRAPH).write_bytes(export_triage(head).SerializeToString())
    (folder / TRIAGE_SPEC).write_text(spec.model_dump_json(indent=1) + "\n", encoding="utf-8")
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    records = file_records(folder)
    manifest["files"] |= {name: records[name] for name in (TRIAGE_GRAPH, TRIAGE_SPEC)}
    manifest["files"] = dict(sorted(manifest["files"].items()))
    write_whole(path, json.dumps(manifest, indent=1) + "\n")


def _examples(
    run: TriageRun,
    codec: CodecArtifact,
    detector: DetectorArtifact,
    pictures: PackedPictures,
    name: str,
) -> list[LabelledLatent]:
    runtime = OpenVinoRuntime(run.num_threads)
    views = list_views(pictures, run.views)
    cache = run.out / f"{name}-{detector.label.replace('/', '-')}-seed-{run.seed}.npz"
    labels = label_views(pictures, views, run.seed, Detector(codec, detector, runtime), cache)
    encoder, decoder = Encoder(codec, runtime), Decoder(codec, runtime)
    qualities = codec.manifest.qualities
    return encode_views(pictures, views, labels, run.seed, encoder, decoder, qualities)


# --- the loop ---


def _train(
    run: TriageRun,
    codec: CodecArtifact,
    head: TriageHead,
    examples: Sequence[LabelledLatent],
    interest: Sequence[int],
) -> bool:
    """Train `head` and leave it with its averaged weights; False if time ran out before the end."""
    average = WeightAverage(head, _AVERAGE)
    optimizer = torch.optim.AdamW(
        head.parameters(), lr=run.learning_rate, weight_decay=_WEIGHT_DECAY
    )
    path = run.out / "checkpoint.pt"
    state = load_checkpoint(path, torch.device(run.device))
    done = 0
    if state is not None:
        if state["fingerprint"] != codec.manifest.fingerprint:
            raise ValueError(
                f"{path}: a head for the codec with fingerprint {state['fingerprint']}; this is "
                f"{codec.label} with {codec.manifest.fingerprint}; remove the checkpoint to train "
                "one for it (the labels beside it stay good)"
            )
        head.load_state_dict(state["head"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        done = int(state["step"])
    batches = _Batches(examples, run.batch, head.classes, run.seed)
    if done == 0:
        head.start_from([batches.draw(i, run.device)[0] for i in range(8)])
        average.load_state_dict({"steps": 0, "state": head.state_dict()})

    def save(step: int) -> None:
        state = {
            "step": step,
            "fingerprint": codec.manifest.fingerprint,
            "head": head.state_dict(),
            "average": average.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        save_checkpoint(path, state)

    started = saved = time.monotonic()
    losses: list[float] = []
    head.train()
    for step in tqdm(range(done + 1, run.steps + 1), unit="step", mininterval=5.0):
        for group in optimizer.param_groups:
            group["lr"] = run.learning_rate * _schedule(step, run.steps)
        y_hat, present, cells = batches.draw(step, run.device)
        loss = triage_loss(head.cells(y_hat), present, cells, interest)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        average.update(head)
        losses.append(loss.item())
        if step % _LOG_EVERY == 0:
            _log(run.out / "log.csv", step, float(np.mean(losses[-_LOG_EVERY:])))
        now = time.monotonic()
        if run.seconds is not None and now - started > run.seconds and step < run.steps:
            save(step)
            return False
        if now - saved > _SAVE_EVERY_SECONDS or step == run.steps:
            save(step)
            saved = now
    shape = (1, *examples[0].y_hat.shape)
    said = throughput(
        head.cells,
        (torch.zeros(shape, device=run.device),),
        run.batch,
        run.steps - done,
        time.monotonic() - started,
    )
    if said is not None:
        tqdm.write(said)
    head.load_state_dict(average.state)
    return True


def triage_loss(logits: Tensor, present: Tensor, cells: Tensor, interest: Sequence[int]) -> Tensor:
    """Cross entropies, each summed over its classes and averaged over the pictures: of every class
    in the picture, of anything of interest in it, and of every class in every cell.

    Args:
        logits: (B, C, h, w) of `TriageHead.cells`.
        present: (B, C) targets, 0 to 1.
        cells: (B, C, h, w) targets, 0 to 1.
        interest: class ids.
    """
    entropy = nn.functional.binary_cross_entropy_with_logits
    by_class = logits.logsumexp((2, 3))  # (B, C)
    chosen = list(interest)
    anything = by_class[:, chosen].logsumexp(1)  # (B,)
    B = len(logits)
    return (
        entropy(by_class, present, reduction="sum") / B
        + entropy(anything, present[:, chosen].amax(1), reduction="sum") / B
        + _CELL_WEIGHT * entropy(logits, cells, reduction="sum") / B
    )


class _Batches:
    """Batches of one view shape each; a batch depends on (seed, step) alone."""

    def __init__(
        self, examples: Sequence[LabelledLatent], size: int, classes: int, seed: int
    ) -> None:
        self._examples, self._size, self._classes, self._seed = examples, size, classes, seed
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for index, example in enumerate(examples):
            by_shape.setdefault(example.y_hat.shape, []).append(index)
        self._groups = list(by_shape.values())
        self._share = np.asarray([len(group) for group in self._groups]) / len(examples)

    def draw(self, step: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
        """y_hat (B, M_0, h, w), presence (B, C), cells (B, C, ceil(h/2), ceil(w/2))."""
        rng = np.random.default_rng([self._seed, step])
        group = self._groups[rng.choice(len(self._groups), p=self._share)]
        chosen = [self._examples[index] for index in rng.choice(group, self._size)]
        y_hat = np.stack([example.y_hat for example in chosen]).astype(np.float32)
        h, w = (-(-side // CELL_STRIDE) for side in y_hat.shape[2:])
        cells = np.stack([_cells_of(example.boxes, self._classes, h, w) for example in chosen])
        present = cells.max((2, 3))
        tensors = (torch.from_numpy(array).to(device) for array in (y_hat, present, cells))
        first, second, third = tensors
        return first, second, third


def _cells_of(boxes: NDArray[np.float32], classes: int, h: int, w: int) -> NDArray[np.float32]:
    """(C, h, w): 1 where a sure detection has its centre, a part of it for an unsure one."""
    cells = np.zeros((classes, h, w), np.float32)
    class_id, x, y, score = boxes.T
    at = (
        class_id.astype(int),
        np.clip((y * h).astype(int), 0, h - 1),
        np.clip((x * w).astype(int), 0, w - 1),
    )
    np.maximum.at(cells, at, np.clip((score - _NO_SCORE) / (MIN_SCORE - _NO_SCORE), 0, 1))
    return cells


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine to zero."""
    if step < _WARM_UP:
        return step / _WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (step - _WARM_UP) / max(1, steps - _WARM_UP)))


def _log(path: Path, step: int, loss: float) -> None:
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(["step", "loss"])
        writer.writerow([step, f"{loss:.4f}"])


# --- validation ---


@torch.no_grad()
def _measure(
    run: TriageRun,
    codec: CodecArtifact,
    detector: DetectorArtifact,
    head: TriageHead,
    examples: Sequence[LabelledLatent],
    reported: NDArray[np.bool_],
    labels: tuple[str, ...],
    names: tuple[str, ...],
) -> TriageSpec:
    """Thresholds are chosen on the views that are not `reported`; all figures are of the others."""
    head.cpu().eval()
    logits = np.concatenate(
        [head(torch.from_numpy(e.y_hat[np.newaxis].astype(np.float32))).numpy() for e in examples]
    )
    truth = np.zeros(logits.shape, np.bool_)
    for row, example in zip(truth, examples, strict=True):
        row[example.boxes[example.boxes[:, 3] >= MIN_SCORE, 0].astype(int)] = True
    interest = class_ids_of(labels, names)
    anything, scores = truth[:, interest].any(1), any_presence(logits[:, interest])
    for half in (reported, ~reported):
        if anything[half].all() or not anything[half].any():
            raise ValueError(
                f"the detector finds something of interest in {anything[half].sum()} of "
                f"{half.sum()} views of one half of the validation pictures; figures need some "
                "with and some without in both halves: give more pictures"
            )
    chosen = [choose_threshold(scores[~reported], anything[~reported], each) for each in RECALLS]
    scores, anything = scores[reported], anything[reported]
    logits, truth = logits[reported], truth[reported]
    choices = tuple(measure_threshold(scores, anything, threshold) for threshold in chosen)
    side = 16 * CELL_STRIDE
    stride = codec.manifest.latent_stride
    macs = count_macs(head, torch.zeros(1, head.latent_channels, side, side))
    return TriageSpec(
        classes=head.classes,
        latent_channels=head.latent_channels,
        labels=labels,
        min_score=MIN_SCORE,
        threshold=choices[RECALLS.index(DEFAULT_RECALL)].threshold,
        choices=choices,
        auc=area_under_roc(scores, anything),
        average_precision={
            names[c]: round(average_precision(logits[:, c], truth[:, c]), 4)
            for c in range(head.classes)
            if truth[:, c].sum() >= _MIN_PICTURES
        },
        kmac_per_pixel=macs / (side * stride) ** 2 / 1000,
        pictures=int(reported.sum()),
        steps=run.steps,
        detector=detector.label,
    )
