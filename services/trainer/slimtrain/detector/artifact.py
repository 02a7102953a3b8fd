"""A trained Darknet detector -> `models/<name>/<version>/`, from which the cloud detects.

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
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import JsonValue
from safetensors.numpy import load_file

from slimcodec.model.artifact import read_class_names
from slimcodec.model.manifest import DetectorManifest, FileRecord, Head, Split
from slimnets.darknet.cfg import CfgSection, parse_cfg, read_cfg_text
from slimnets.darknet.detector import Darknet, SplitPoint
from slimnets.darknet.weights import load_darknet_weights
from slimnets.errors import NetError, SplitError
from slimnets.export.darknet import export_stem, export_tail
from slimnets.export.onnx_file import WEIGHTS_FILE, save_graph, save_weights
from slimtrain.artifact_folder import file_records, new_artifact

SPLIT_STRIDE = 8  # where the feature transform puts its features: twice the latent's resolution


class DetectorArtifactError(NetError):
    """A detector folder that cannot be written or read."""


def write_detector_artifact(
    model: Darknet,
    cfg_text: str,
    names: Sequence[str],
    split_layer: int,
    out_dir: Path | str,
    training: Mapping[str, JsonValue],
    figures: Mapping[str, JsonValue],
    licence: str,
) -> Path:
    """Write the folder of a detector; give its path.

    Args:
        model: the detector; with its running statistics.
        cfg_text: the Darknet configuration that `model` was built from.
        names: one per class.
        split_layer: where stem and tail part.
        out_dir: `.../<name>/<version>`, a version being a positive integer; must not exist.
        training, figures: free form, kept in the manifest.
        licence: who may use the weights for what.

    Raises:
        ArtifactFolderError: `out_dir` exists or is not of this form.
        DetectorArtifactError: cfg or names do not fit the model, or weights are not finite.
        SplitError: the detector cannot be cut there.
    """
    out_dir = Path(out_dir).absolute()
    point = model.split_point(split_layer)
    _check(model, cfg_text, names)
    with new_artifact(out_dir) as folder:
        (folder / "detector.cfg").write_text(cfg_text, encoding="utf-8")
        (folder / "detector.names").write_text("".join(f"{n}\n" for n in names), encoding="utf-8")
        weights = save_weights(model, folder)
        save_graph(export_stem(model, split_layer, weights), folder / "stem.onnx")
        save_graph(export_tail(model, split_layer, weights), folder / "tail.onnx")
        manifest = DetectorManifest(
            format=1,
            kind="detector",
            name=out_dir.parent.name,
            version=int(out_dir.name),
            split=Split(layer=point.layer, channels=point.channels, stride=point.stride),
            classes=model.classes,
            heads=tuple(
                Head(
                    stride=head.stride,
                    anchors=head.anchors,
                    scale_x_y=head.scale_x_y,
                    new_coords=head.new_coords,
                )
                for head in model.head_specs
            ),
            files={
                name: FileRecord.model_validate(record)
                for name, record in file_records(folder).items()
            },
            training=dict(training),
            figures=dict(figures),
            licence=licence,
        )
        manifest_text = manifest.model_dump_json(indent=1) + "\n"
        (folder / "manifest.json").write_text(manifest_text, encoding="utf-8")
    return out_dir


def import_detector(
    cfg: Path | str,
    weights: Path | str,
    names: Path | str,
    out_dir: Path | str,
    split_layer: int | None = None,
    licence: str = "not stated; ask whoever trained the weights",
) -> Path:
    """Make an artifact of a user's own Darknet files; `choose_split` decides if no split is given.

    Raises:
        NetError: a cfg, weights or split that cannot be used, with the reason.
        ModelError: names that do not fit the detector.
        ArtifactFolderError: `out_dir` exists or is not `<name>/<version>`.
    """
    cfg, weights = Path(cfg), Path(weights)
    cfg_text = read_cfg_text(cfg)
    model = Darknet(parse_cfg(cfg_text)).eval()
    load_darknet_weights(model, weights)
    split = choose_split(model).layer if split_layer is None else split_layer
    training: dict[str, JsonValue] = {
        "imported_from": {"cfg": cfg.name, "weights": weights.name},
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "pictures_seen": model.seen,
    }
    class_names = read_class_names(Path(names), model.classes)
    return write_detector_artifact(
        model, cfg_text, class_names, split, out_dir, training, {}, licence
    )


def choose_split(model: Darknet) -> SplitPoint:
    """Give the first shortcut at stride 8, or else the deepest layer there, that the graph allows.

    Raises:
        SplitError: the detector has no layer at stride 8 where it can be cut.
    """
    points: list[SplitPoint] = []
    for number in range(len(model.layers) - 1):
        if model.layer_shape(number).stride != SPLIT_STRIDE:
            continue
        try:
            point = model.split_point(number)
        except SplitError:
            continue
        if model.sections[number + 1].kind == "shortcut":
            return point
        points.append(point)
    if not points:
        raise SplitError(f"no layer of stride {SPLIT_STRIDE} where the detector can be cut", -1)
    return points[-1]


def load_detector_model(path: Path | str) -> Darknet:
    """Build the torch detector of an artifact folder, in evaluation mode, in float32.

    Raises:
        NetError: a damaged folder.
    """
    path = Path(path)
    model = Darknet(parse_cfg((path / "detector.cfg").read_text(encoding="utf-8")))
    stored = load_file(path / WEIGHTS_FILE)
    state = {name: torch.from_numpy(values.astype(np.float32)) for name, values in stored.items()}
    expected = {k: v.shape for k, v in model.state_dict().items() if not k.endswith(_COUNTER)}
    found = {k: v.shape for k, v in state.items()}
    if found != expected:
        wrong = sorted(k for k in expected.keys() | found.keys() if found.get(k) != expected.get(k))
        raise DetectorArtifactError(
            f"{path}: {len(wrong)} tensors do not fit detector.cfg, the first is {wrong[0]}"
        )
    model.load_state_dict(state, strict=False)
    return model.eval()


_COUNTER = "num_batches_tracked"  # only for training with a cumulative average; never stored


def _check(model: Darknet, cfg_text: str, names: Sequence[str]) -> None:
    if _meaning(parse_cfg(cfg_text)) != _meaning(model.sections):
        raise DetectorArtifactError("the cfg text is not the one that the model was built from")
    if len(names) != model.classes:
        raise DetectorArtifactError(f"{len(names)} names for {model.classes} classes")
    if not all(math.isfinite(float(t.abs().sum())) for t in model.state_dict().values()):
        raise DetectorArtifactError("the model holds weights that are not finite")


def _meaning(sections: Sequence[CfgSection]) -> list[tuple[str, dict[str, str]]]:
    return [(section.kind, dict(section.options)) for section in sections]
