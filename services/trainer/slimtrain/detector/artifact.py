"""Darknet files -> a detector to train; a trained one -> `models/<name>/<version>/`, from which the
cloud detects.

```
detector.cfg, detector.names    as Darknet writes them
weights.safetensors             layers.<number>.conv.weight, ...norm.weight, ...: for the graphs,
                                and to train on
stem.onnx   x -> f              tail.onnx   f -> head_0, head_1, ...
manifest.json                   split point, heads, digest and size of every file, training, figures
```
The folder appears whole or not at all: it is written beside its place and renamed.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from pydantic import JsonValue
from safetensors.numpy import load_file
from torch import nn

from slimcodec.model.artifact import read_class_names
from slimcodec.model.manifest import MANIFEST_FORMAT
from slimnets.darknet.cfg import CfgSection, format_cfg, parse_cfg, read_cfg_text
from slimnets.darknet.detector import Darknet, SplitPoint
from slimnets.darknet.weights import load_darknet_weights
from slimnets.errors import NetError, SplitError
from slimnets.export.darknet import export_stem, export_tail
from slimnets.export.onnx_file import WEIGHTS_FILE, save_graph, save_weights
from slimtrain.artifact_folder import LICENCE_UNKNOWN, new_artifact, write_manifest

SPLIT_STRIDE = 8  # where the feature transform puts its features: twice the latent's resolution
STATISTICS_MOMENTUM = 0.03  # of batch norm: mosaics and single pictures differ from batch to batch


@dataclass(frozen=True)
class DarknetFiles:
    """A detector as Darknet keeps it."""

    cfg: Path
    weights: Path

    @classmethod
    def named(cls, text: str) -> Self:
        """Of `F.cfg,F.weights`.

        Raises:
            NetError: these are not two names.
        """
        paths = [Path(part) for part in text.split(",")]
        if len(paths) != 2:
            raise NetError(f"{text}: expected two files, F.cfg,F.weights")
        return cls(*paths)

    def load(self) -> Darknet:
        """The detector, in evaluation mode.

        Raises:
            NetError: a cfg that cannot be built, or weights that are not its own.
        """
        model = Darknet(parse_cfg(read_cfg_text(self.cfg)))
        load_darknet_weights(model, self.weights)
        return model.eval()


def write_detector_artifact(
    model: Darknet,
    names: Sequence[str],
    split_layer: int,
    out_dir: Path,
    training: Mapping[str, JsonValue],
    licence: str,
) -> Path:
    """Write the folder of a detector; give its path.

    Args:
        model: the detector; with its running statistics.
        names: one per class.
        split_layer: where stem and tail part.
        out_dir: `.../<name>/<version>`, a version being a positive integer; must not exist.
        training: free form, kept in the manifest.
        licence: who may use the weights for what.

    Raises:
        ArtifactFolderError: `out_dir` exists or is not of this form.
        SplitError: the detector cannot be cut there.
    """
    out_dir = out_dir.absolute()
    point = model.split_point(split_layer)
    heads = [
        {key: getattr(head, key) for key in ("stride", "anchors", "scale_x_y", "new_coords")}
        for head in model.head_specs
    ]
    with new_artifact(out_dir) as folder:
        (folder / "detector.cfg").write_text(format_cfg(model.sections), encoding="utf-8")
        (folder / "detector.names").write_text("".join(f"{n}\n" for n in names), encoding="utf-8")
        weights = save_weights(model, folder)
        save_graph(export_stem(model, split_layer, weights), folder / "stem.onnx")
        save_graph(export_tail(model, split_layer, weights), folder / "tail.onnx")
        said = {
            "format": MANIFEST_FORMAT,
            "kind": "detector",
            "split": asdict(point),
            "classes": model.classes,
            "heads": heads,
            "training": training,
            "figures": {},
            "licence": licence,
        }
        write_manifest(folder, out_dir, said)
    return out_dir


def import_detector(
    cfg: Path,
    weights: Path,
    names: Path,
    out_dir: Path,
    split_layer: int | None = None,
    licence: str = LICENCE_UNKNOWN,
) -> Path:
    """Make an artifact of a user's own Darknet files; `choose_split` decides if no split is given.

    Raises:
        NetError: a cfg, weights or split that cannot be used, with the reason.
        ModelError: names that do not fit the detector.
        ArtifactFolderError: `out_dir` exists or is not `<name>/<version>`.
    """
    model = DarknetFiles(cfg, weights).load()
    split = choose_split(model).layer if split_layer is None else split_layer
    training: dict[str, JsonValue] = {
        "imported_from": {"cfg": cfg.name, "weights": weights.name},
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "pictures_seen": model.seen,
    }
    class_names = read_class_names(names, model.classes)
    return write_detector_artifact(model, class_names, split, out_dir, training, licence)


def choose_split(model: Darknet) -> SplitPoint:
    """Give the first shortcut at stride 8, or else the deepest layer there, that the graph allows.

    Raises:
        SplitError: the detector has no layer at stride 8 where it can be cut.
    """
    points: list[SplitPoint] = []
    for number in range(len(model.layers) - 1):
        if model.shapes[number].stride != SPLIT_STRIDE:
            continue
        try:
            point = model.split_point(number)
        except SplitError:
            continue
        if model.sections[number + 1].kind == "shortcut":
            return point
        points.append(point)
    if not points:
        raise SplitError(f"no layer of stride {SPLIT_STRIDE} where the detector can be cut")
    return points[-1]


def load_detector_model(path: Path) -> Darknet:
    """Build the torch detector of an artifact folder, in evaluation mode, in float32.

    Raises:
        NetError: a damaged folder.
    """
    model = Darknet(parse_cfg((path / "detector.cfg").read_text(encoding="utf-8")))
    stored = load_file(path / WEIGHTS_FILE)
    state = {name: torch.from_numpy(values.astype(np.float32)) for name, values in stored.items()}
    counters = {k: v for k, v in model.state_dict().items() if k.endswith(_COUNTER)}
    try:
        model.load_state_dict({**counters, **state})
    except RuntimeError as exc:  # lists the tensors, perhaps all of them
        raise NetError(f"{path}: does not fit detector.cfg: {str(exc)[:300]}") from exc
    return model.eval()


def build_model(cfg: Path, start: DarknetFiles | None) -> tuple[Darknet, int]:
    """The detector of a cfg, ready to be trained, and how many of its layers are given ones.

    Args:
        start: its layers are taken up to the first that is another in `cfg`; the others, or
            without a start all, begin at random.
    """
    model = Darknet(parse_cfg(read_cfg_text(cfg)))
    taken = 0
    if start is not None:
        source = start.load()
        taken = _count_common(model.sections[1:], source.sections[1:])
        given = source.state_dict()
        state = {name: value for name, value in given.items() if int(name.split(".")[1]) < taken}
        model.load_state_dict(state, strict=False)
        model.seen = source.seen
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = STATISTICS_MOMENTUM
    return model, taken


def _count_common(one: tuple[CfgSection, ...], other: tuple[CfgSection, ...]) -> int:
    """How many first layers are the same."""
    same = [(a.kind, a.options) == (b.kind, b.options) for a, b in zip(one, other, strict=False)]
    return same.index(False) if False in same else len(same)


_COUNTER = "num_batches_tracked"  # only for training with a cumulative average; never stored
