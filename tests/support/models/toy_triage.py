"""A triage head for the toy codec: something is there when the picture is not flat grey."""

import json
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from slimdetect.triage import TRIAGE_GRAPH, TRIAGE_SPEC, OperatingChoice, TriageSpec
from slimtrain.artifact_folder import file_records
from support.models.toy_artifact import CLASSES, LATENT_CHANNELS

_SENSITIVITY = 4.0  # logits per unit of the largest latent
_BIAS = -6.0


def add_toy_triage(codec: Path) -> None:
    """Give a toy codec's folder a head whose every class has the same presence."""
    (codec / TRIAGE_GRAPH).write_bytes(_graph().SerializeToString())
    spec = TriageSpec(
        classes=CLASSES,
        latent_channels=LATENT_CHANNELS[0],
        labels=tuple(f"thing-{i:02d}" for i in range(CLASSES)),
        min_score=0.3,
        threshold=0.5,
        choices=(OperatingChoice(threshold=0.5, recall=1.0, false_positive_rate=0.0),),
        auc=1.0,
        average_precision={},
        kmac_per_pixel=0.0,
        pictures=1,
        steps=0,
        detector="toy-detector/1",
    )
    (codec / TRIAGE_SPEC).write_text(spec.model_dump_json())
    path = codec / "manifest.json"
    manifest = json.loads(path.read_text())
    records = file_records(codec)
    manifest["files"] |= {name: records[name] for name in (TRIAGE_GRAPH, TRIAGE_SPEC)}
    path.write_text(json.dumps(manifest))


def grey_image(h: int, w: int) -> NDArray[np.uint8]:
    """A picture in which nothing is."""
    return np.full((h, w, 3), 128, np.uint8)


def _graph() -> onnx.ModelProto:
    constants: dict[str, NDArray[np.generic]] = {
        "axes": np.array([1, 2, 3], np.int64),
        "to_classes": np.full((1, CLASSES), _SENSITIVITY, np.float32),
        "bias": np.array([_BIAS], np.float32),
        "shape": np.array([-1, 1], np.int64),
    }
    nodes = [
        helper.make_node("Abs", ["y_hat"], ["size"]),
        helper.make_node("ReduceMax", ["size", "axes"], ["largest"], keepdims=0),
        helper.make_node("Reshape", ["largest", "shape"], ["column"]),
        helper.make_node("MatMul", ["column", "to_classes"], ["scaled"]),
        helper.make_node("Add", ["scaled", "bias"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "triage",
        [helper.make_tensor_value_info("y_hat", TensorProto.FLOAT, ["B", 8, "h", "w"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", CLASSES])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model
