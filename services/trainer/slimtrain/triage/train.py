"""`slimwire train triage`: the head of the first rung, trained on what the detector itself finds.

    pictures -triage_views-> y_hat of level 0, the detector's boxes in the uncompressed views
    y_hat -TriageHead-> cells, logits -loss-> weights -average-> triage.onnx, triage.json, manifest

The head goes into a new version of the codec: edge and containers know nothing of it, so the
fingerprint stays. A run is its folder: started again it keeps the labels, and goes on from its
checkpoint.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from slimcodec.decode import Decoder
from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact, DetectorArtifact
from slimdetect.detector import Detector
from slimdetect.scores import class_ids_of
from slimdetect.triage import (
    TRIAGE_GRAPH,
    TRIAGE_SPEC,
    OperatingChoice,
    TriageSpec,
    any_presence,
)
from slimnets.count import count_macs
from slimnets.triage import CELL_STRIDE, TriageHead, export_triage
from slimtrain.artifact_folder import Json, check_new_artifact, new_version
from slimtrain.data.pictures import Pictures
from slimtrain.data.split import is_reported
from slimtrain.loop.checkpoint import digest_of_images
from slimtrain.loop.loop import Loop, Task
from slimtrain.loop.processes import Processes
from slimtrain.loop.schedule import Count, Rate, Schedule, Seed
from slimtrain.triage.views import LabelledLatent, View, encode_views, label_views, list_views

MIN_SCORE = 0.3  # a detection of at least this score is a presence
STREET_LABELS = ("person", "bicycle", "car", "motorbike", "bus", "truck")
RECALLS = (0.8, 0.9, 0.95, 0.98, 0.99)
DEFAULT_RECALL = 0.95
_MIN_PICTURES = 20  # of validation with a class, to print its average precision
_NO_SCORE = 0.1  # a best score up to here is an absence; between it and MIN_SCORE, unsure
_WARM_UP = 100  # steps
_WEIGHT_DECAY = 0.02
_AVERAGE = 0.995
_CELL_WEIGHT = 1.0

Scores = NDArray[np.float32]
Truth = NDArray[np.bool_]  # (n,) each; figures need a picture of either kind


@dataclass(frozen=True, slots=True, kw_only=True)
class TriageSchedule:
    """How long and on what a triage head is trained, and for what; a recipe may set these."""

    # what is of interest where nobody says otherwise; thresholds are measured for it. All classes
    # where the detector knows none of them
    labels: tuple[str, ...] = STREET_LABELS
    steps: Count = 2000  # optimiser steps of the whole schedule (warm-up, cosine to zero)
    views: Count = 3  # crops of each picture
    batch: Count = 32  # views per step
    learning_rate: Rate = 2e-3  # peak, AdamW
    seed: Seed = 1


@dataclass(frozen=True, slots=True)
class TriageRun(TriageSchedule):
    """One training run."""

    out: Path  # folder of labels.npz, checkpoint.pt and log.csv
    # stop training after this long, with a checkpoint, and write no model; None: run to the end
    seconds: float | None = None
    threads: int | None = None  # of torch, detector and encoder; None: their choice
    device: str | None = "cpu"  # None: cuda where there is one


def train_triage(
    run: TriageRun,
    codec: CodecArtifact,
    detector: DetectorArtifact,
    training: Pictures,
    validation: Pictures,
    to: Path,
) -> TriageSpec | None:
    """Train (or go on training) and write the codec with its head; None if stopped early, or if
    another process writes it.

    Args:
        training, validation: any pictures; labels are not looked at.
        to: `.../<name>/<version>` of the result, must not exist.

    Raises:
        LoopError: `run.out` holds a run on another codec, detector, labels or pictures, or
            the batch does not divide among the processes.
        ArtifactFolderError: `to` exists or is of another form.
        ValueError: the validation pictures give no figures.
    """
    check_new_artifact(to)
    with Processes.join(run.device, run.threads) as processes:
        task = _TriageTask(run, processes, codec, detector, training)
        loop = Loop(
            run.out,
            Schedule(_WARM_UP, last=0.0, waits=True, ahead=1),
            _AVERAGE,
            steps=run.steps,
            seconds=run.seconds,
            processes=processes,
        )
        is_over = loop.run(task)
    if not (is_over and processes.is_first):
        return None
    held_out = task.examples_of(validation, list_views(validation, run.views), "labels_validation")
    reported = np.array([is_reported(validation[each.picture].name) for each in held_out])
    spec = task.measure(held_out, reported)
    write_triage(codec, task.trained, spec, to)
    return spec


def write_triage(codec: CodecArtifact, head: TriageHead, spec: TriageSpec, to: Path) -> Path:
    """Write a new version of a codec, which has this head and is otherwise the same; its folder.

    Raises:
        ArtifactFolderError: `to` exists or is not `.../<name>/<version>`.
    """
    training: dict[str, Json] = {
        "triage": {"from": codec.label, "steps": spec.steps, "detector": spec.detector}
    }
    with new_version(codec, to, {}, training, keeps_profile=True) as folder:
        (folder / TRIAGE_GRAPH).write_bytes(export_triage(head).SerializeToString())
        (folder / TRIAGE_SPEC).write_text(spec.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return to


class _TriageTask(Task):
    """Batches of one view shape each, and what the head says of them. Figures need both halves of
    the pictures: `measure` has them, for triage.json.
    """

    name = "head"
    trained: TriageHead

    def __init__(
        self,
        run: TriageRun,
        processes: Processes,
        codec: CodecArtifact,
        detector: DetectorArtifact,
        training: Pictures,
    ) -> None:
        self.run, self.codec, self.detector = run, codec, detector
        self.device, self.batch = processes.device, processes.part_of(run.batch)
        self.seed = processes.seed_of(run.seed)
        self.names = detector.names
        self.labels = tuple(label for label in run.labels if label in self.names) or self.names
        self.interest = class_ids_of(self.labels, self.names)
        # each process labels and keeps its part of the views
        own = list_views(training, run.views)[processes.rank :: processes.world]
        part = f"-{processes.rank}-of-{processes.world}" if processes.world > 1 else ""
        self.examples = self.examples_of(training, own, f"labels{part}")
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for index, example in enumerate(self.examples):
            by_shape.setdefault(example.y_hat.shape, []).append(index)
        self.groups = list(by_shape.values())
        torch.manual_seed(run.seed)
        head = TriageHead(codec.levels[0].latent_channels, len(self.names))
        self.trained = head.to(self.device).train()
        self.optimizer = torch.optim.AdamW(
            [{"params": list(self.trained.parameters()), "peak": run.learning_rate}],
            lr=run.learning_rate,
            weight_decay=_WEIGHT_DECAY,
        )
        self.kept = {"fingerprint": codec.manifest.fingerprint}
        self.identity = {
            "codec": codec.manifest.fingerprint,
            "detector": detector.label,
            "labels": " ".join(self.labels),
            "pictures": digest_of_images([picture.image for picture in training]),
        }

    def examples_of(
        self, pictures: Pictures, views: Sequence[View], name: str
    ) -> list[LabelledLatent]:
        """Views of the pictures, as the detector sees them and as the cloud decodes them."""
        run = self.run
        runtime = OpenVinoRuntime(run.threads)
        session = Detector(self.codec, self.detector, runtime)
        cache = run.out / f"{name}-{self.detector.label.replace('/', '-')}-seed-{run.seed}.npz"
        labels = label_views(pictures, views, run.seed, session, cache)
        encoder, decoder = Encoder(self.codec, runtime), Decoder(self.codec, runtime)
        qualities = self.codec.manifest.qualities
        return encode_views(pictures, views, labels, run.seed, encoder, decoder, qualities)

    def begin(self) -> None:
        """Set the head's scales."""
        self.trained.start_from([self._draw(i)[0] for i in range(8)])

    def losses(self, step: int, done: float) -> dict[str, Tensor]:
        y_hat, present, cells = self._draw(step + 1)
        return {"loss": triage_loss(self.trained.cells(y_hat), present, cells, self.interest)}

    def _draw(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """y_hat (B, M_0, h, w), presence (B, C), cells (B, C, ceil(h/2), ceil(w/2)) of one view
        shape; they depend on (seed, step) alone.
        """
        rng = np.random.default_rng([self.seed, step])
        share = np.asarray([len(group) for group in self.groups]) / len(self.examples)
        group = self.groups[rng.choice(len(self.groups), p=share)]
        chosen = [self.examples[index] for index in rng.choice(group, self.batch)]
        y_hat = np.stack([example.y_hat for example in chosen]).astype(np.float32)
        h, w = (-(-side // CELL_STRIDE) for side in y_hat.shape[2:])
        cells = np.stack([_cells_of(example.boxes, len(self.names), h, w) for example in chosen])
        latents, targets = (torch.from_numpy(array).to(self.device) for array in (y_hat, cells))
        return latents, targets.amax((2, 3)), targets

    @torch.no_grad()
    def measure(
        self, examples: Sequence[LabelledLatent], reported: NDArray[np.bool_]
    ) -> TriageSpec:
        """Figures of the trained head on held-out views.

        Thresholds are chosen on the views that are not `reported`; all figures are of the others.

        Raises:
            ValueError: a half of the views has nothing of interest, or nothing else.
        """
        head = self.trained.cpu().eval()
        latents = (torch.from_numpy(each.y_hat[np.newaxis].astype(np.float32)) for each in examples)
        logits = np.concatenate([head(y_hat).numpy() for y_hat in latents])
        truth = np.zeros(logits.shape, np.bool_)
        for row, example in zip(truth, examples, strict=True):
            row[example.boxes[example.boxes[:, 3] >= MIN_SCORE, 0].astype(int)] = True
        interest = list(self.interest)
        anything, scores = truth[:, interest].any(1), any_presence(logits[:, interest])
        for half in (reported, ~reported):
            if anything[half].all() or not anything[half].any():
                raise ValueError(
                    f"the detector finds something of interest in {anything[half].sum()} of "
                    f"{half.sum()} views of one half of the validation pictures; figures need "
                    "some with and some without in both halves: give more pictures"
                )
        choices = tuple(
            measure_threshold(
                scores[reported],
                anything[reported],
                choose_threshold(scores[~reported], anything[~reported], recall),
            )
            for recall in RECALLS
        )
        logits, truth = logits[reported], truth[reported]
        side = 16 * CELL_STRIDE
        macs = count_macs(head, torch.zeros(1, head.latent_channels, side, side))
        return TriageSpec(
            classes=head.classes,
            latent_channels=head.latent_channels,
            labels=self.labels,
            min_score=MIN_SCORE,
            threshold=choices[RECALLS.index(DEFAULT_RECALL)].threshold,
            choices=choices,
            auc=area_under_roc(scores[reported], anything[reported]),
            average_precision={
                name: round(average_precision(logits[:, c], truth[:, c]), 4)
                for c, name in enumerate(self.names)
                if truth[:, c].sum() >= _MIN_PICTURES
            },
            kmac_per_pixel=macs / (side * self.codec.manifest.latent_stride) ** 2 / 1000,
            pictures=int(reported.sum()),
            steps=self.run.steps,
            detector=self.detector.label,
        )


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


def area_under_roc(scores: Scores, truth: Truth) -> float:
    """The chance that a picture with the thing scores above one without; ties count half."""
    values, place = np.unique(scores, return_inverse=True)
    positives = np.bincount(place[truth], minlength=len(values))
    negatives = np.bincount(place[~truth], minlength=len(values))
    below = np.cumsum(negatives) - negatives
    return float((positives * (below + negatives / 2)).sum() / (truth.sum() * (~truth).sum()))


def average_precision(scores: Scores, truth: Truth) -> float:
    """Mean over the pictures with the thing of the precision at their score."""
    order = np.argsort(-scores, kind="stable")
    hits = truth[order]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean())


def choose_threshold(scores: Scores, truth: Truth, recall: float) -> float:
    """The highest threshold that keeps at least this part of the pictures with the thing."""
    kept = int(np.ceil(recall * truth.sum() - 1e-9))
    return float(np.sort(scores[truth])[::-1][kept - 1])


def measure_threshold(scores: Scores, truth: Truth, threshold: float) -> OperatingChoice:
    """What a threshold does on pictures that it was not chosen on."""
    passes = scores >= threshold
    return OperatingChoice(
        threshold=threshold,
        recall=float(passes[truth].mean()),
        false_positive_rate=float(passes[~truth].mean()),
    )
