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
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from pydantic import JsonValue
from safetensors.numpy import load_file

from slimcodec.model.artifact import read_class_names
from slimcodec.model.manifest import MANIFEST_FORMAT
from slimnets.darknet.cfg import format_cfg, parse_cfg
from slimnets.darknet.detector import Darknet, SplitPoint
from slimnets.errors import NetError, SplitError
from slimnets.export.darknet import export_stem, export_tail
from slimnets.export.onnx_file import WEIGHTS_FILE, save_graph, save_weights
from slimtrain.artifact_folder import LICENCE_UNKNOWN, new_artifact, write_manifest
from slimtrain.detector.start import DarknetFiles

SPLIT_STRIDE = 8  # where the feature transform puts its features: twice the latent's resolution


def write_detector_artifact(
    model: Darknet,
    names: Sequence[str],
    split_layer: int,
    out_dir: Path | str,
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
    out_dir = Path(out_dir).absolute()
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
    cfg: Path | str,
    weights: Path | str,
    names: Path | str,
    out_dir: Path | str,
    split_layer: int | None = None,
    licence: str = LICENCE_UNKNOWN,
) -> Path:
    """Make an artifact of a user's own Darknet files; `choose_split` decides if no split is given.

    Raises:
        NetError: a cfg, weights or split that cannot be used, with the reason.
        ModelError: names that do not fit the detector.
        ArtifactFolderError: `out_dir` exists or is not `<name>/<version>`.
    """
    cfg, weights = Path(cfg), Path(weights)
    model = DarknetFiles(cfg, weights).load()
    split = choose_split(model).layer if split_layer is None else split_layer
    training: dict[str, JsonValue] = {
        "imported_from": {"cfg": cfg.name, "weights": weights.name},
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "pictures_seen": model.seen,
    }
    class_names = read_class_names(Path(names), model.classes)
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


def load_detector_model(path: Path | str) -> Darknet:
    """Build the torch detector of an artifact folder, in evaluation mode, in float32.

    Raises:
        NetError: a damaged folder.
    """
    path = Path(path)
    model = Darknet(parse_cfg((path / "detector.cfg").read_text(encoding="utf-8")))
    stored = load_file(path / WEIGHTS_FILE)
    state = {name: torch.from_numpy(values.astype(np.float32)) for name, values in stored.items()}
    counters = {k: v for k, v in model.state_dict().items() if k.endswith(_COUNTER)}
    try:
        model.load_state_dict({**counters, **state})
    except RuntimeError as exc:  # lists the tensors, perhaps all of them
        raise NetError(f"{path}: does not fit detector.cfg: {str(exc)[:300]}") from exc
    return model.eval()


_COUNTER = "num_batches_tracked"  # only for training with a cumulative average; never stored
