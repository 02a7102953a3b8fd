"""Small complete artifacts without training: a block transform, and a detector of random weights.

The toy codec is a real one: g_a takes 16 x 16 blocks apart into low-frequency cosine patterns of
luma and chroma, lowest first, and g_s puts them together. So a wider level really gives a better
picture, a finer quality really costs more bytes, and each level's latent is the prefix of the next.
The toy detector's boxes mean nothing, but depend on the picture and are the same on every run.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from slimcodec.container import Prior, Streams
from slimcodec.context.prior import context_arrays, save_context
from slimcodec.entropy.tables import (
    TOTAL_FREQUENCY,
    Tables,
    compute_fingerprint,
    save_scale_tables,
    save_tables,
)
from slimcodec.model.artifact import ChannelLayout
from support.models.toy_context import toy_context
from support.models.toy_hyperprior import (
    HYPER_PER_GROUP,
    HYPER_STRIDE,
    analysis_graph,
    scale_tables,
    synthesis_graph,
)

Array = NDArray[np.float32]

LATENT_CHANNELS = (8, 16, 24, 32)  # prefixes of the levels
PAD_MULTIPLE = 32
LATENT_STRIDE = 16
QUALITIES = 6
CONTEXT_ENDS = (4, 8, 16, 24, 32)
FEATURE_CHANNELS = 12
FEATURE_STRIDE = 8
CLASSES = 80
HEAD_ANCHORS: dict[int, tuple[tuple[float, float], ...]] = {
    32: ((116.0, 90.0), (156.0, 198.0), (373.0, 326.0)),
    16: ((30.0, 61.0), (62.0, 45.0)),
    8: ((10.0, 13.0), (16.0, 30.0)),
}
_LUMA_CHROMA = np.array(  # orthonormal: luma, blue-red, green-magenta
    [[1, 1, 1], [-1, 0, 1], [-1, 2, -1]], dtype=np.float32
) / np.sqrt(np.array([[3], [2], [6]], dtype=np.float32))
_CHROMA_DELAY = 2.0  # a chroma pattern comes as late as a luma pattern of this much more frequency
_GREY = np.float32(0.5)
_COARSEST_GAIN, _GAIN_STEP = 1.0, 1.8
_OPSET = 17
_IR_VERSION = 8


def make_toy_codec(
    directory: Path,
    seed: int = 0,
    streams: Streams = "nested",
    prior: Prior = "factorized",
) -> Path:
    """Write a complete codec artifact as `directory`/toy/1 and return that path.

    Another seed is another model: other weights, tables and fingerprint. Separate streams have
    tables and gains of their own, over the same transforms.
    """
    target = _new_version(directory, "toy")
    rng = np.random.default_rng(seed)
    latent = ChannelLayout(LATENT_CHANNELS, streams)
    patterns = _patterns(rng)  # (M, 3, 16, 16), orthonormal
    for level in range(len(LATENT_CHANNELS)):
        _save_graph(_analysis_graph(patterns, level), target / f"g_a_{level}.onnx")
    by_place = prior == "context"
    _save_graph(_synthesis_graph(patterns, by_place), target / "g_s.onnx")
    _save_graph(_feature_graph(patterns, rng, by_place), target / "feature_transform.onnx")
    tables = make_tables(rng, latent.num_columns)
    levels: list[dict[str, object]] = [
        {
            "level": level,
            "latent_channels": channels,
            "channels": [channels],
            "kmac_per_pixel": 3 * channels / 1000,
        }
        for level, channels in enumerate(LATENT_CHANNELS)
    ]
    structure: dict[str, object] = {
        "levels": levels,
        "qualities": QUALITIES,
        "pad_multiple": PAD_MULTIPLE,
        "latent_stride": LATENT_STRIDE,
        "streams": streams,
        "prior": prior,
    }
    context = toy_context(CONTEXT_ENDS, QUALITIES) if by_place else None
    if context is not None:
        save_context(target / "context.npz", context)
        tables = replace(
            tables,
            cdf=tables.cdf[:, :0],
            cdf_length=tables.cdf_length[:, :0],
            offset=tables.offset[:, :0],
        )
    if prior == "hyperprior":
        tables = _add_hyperprior(target, structure, levels, tables, streams)
    save_tables(target / "tables.npz", tables)
    save_file({"patterns": patterns}, target / "weights.safetensors")
    _write_manifest(
        target,
        {
            "kind": "codec",
            "name": "toy",
            "fingerprint": compute_fingerprint(
                structure,
                tables,
                [patterns.tobytes()],
                context=None if context is None else context_arrays(context),
            ),
            "detector": {"name": "toy-detector", "version": 1},
            **structure,
        },
    )
    points = [
        {"level": level, "quality": quality, "bpp": 0.02 * (level + 1) * 1.5**quality}
        for level in range(len(LATENT_CHANNELS))
        for quality in range(QUALITIES)
    ]
    profile = {"points": points, "pictures": 1, "command": "made up for tests"}
    (target / "profile.json").write_text(json.dumps(profile))
    return target


def _add_hyperprior(
    target: Path,
    structure: dict[str, object],
    levels: list[dict[str, object]],
    tables: Tables,
    streams: Streams,
) -> Tables:
    """Write its graphs and tables, complete the structure, and return the tables of z."""
    structure |= {"pad_multiple": HYPER_STRIDE, "hyper_stride": HYPER_STRIDE}
    widths = tuple(HYPER_PER_GROUP * (level + 1) for level in range(len(levels)))
    for level, channels in enumerate(widths):
        levels[level]["hyper_channels"] = channels
        prefixes = LATENT_CHANNELS[: level + 1]
        _save_graph(analysis_graph(prefixes), target / f"h_a_{level}.onnx")
        _save_graph(synthesis_graph(prefixes), target / f"h_s_{level}.onnx")
    save_scale_tables(target / "hyper.npz", scale_tables())
    of_z = make_tables(np.random.default_rng(8), ChannelLayout(widths, streams).num_columns)
    return replace(of_z, gain=tables.gain, inverse_gain=tables.inverse_gain)


def make_toy_detector(directory: Path, seed: int = 0) -> Path:
    """Write a complete detector artifact as `directory`/toy-detector/1 and return that path."""
    target = _new_version(directory, "toy-detector")
    rng = np.random.default_rng(seed)
    stem = _normal(rng, (FEATURE_CHANNELS, 3, FEATURE_STRIDE, FEATURE_STRIDE))
    nodes = [_convolution("x", "f", FEATURE_STRIDE, weight="stem")]
    x, f = ("x", ("B", 3, "H", "W")), ("f", ("B", FEATURE_CHANNELS, "H8", "W8"))
    _save_graph(_graph("stem", nodes, [x], [f], {"stem": stem}), target / "stem.onnx")
    tail, weights = _tail_graph(f, rng)
    _save_graph(tail, target / "tail.onnx")
    save_file({"stem": stem, **weights}, target / "weights.safetensors")
    (target / "detector.names").write_text("".join(f"thing-{i:02d}\n" for i in range(CLASSES)))
    (target / "detector.cfg").write_text(_cfg_text())
    _write_manifest(
        target,
        {
            "kind": "detector",
            "name": "toy-detector",
            "split": {"layer": 0, "channels": FEATURE_CHANNELS, "stride": FEATURE_STRIDE},
            "classes": CLASSES,
            "heads": [
                {"stride": stride, "anchors": anchors, "scale_x_y": 1.0}
                for stride, anchors in HEAD_ANCHORS.items()
            ],
        },
    )
    return target


def make_tables(rng: np.random.Generator, num_channels: int = LATENT_CHANNELS[-1]) -> Tables:
    """Return tables of discretised Laplacians whose scales fall with the channel."""
    gains = _COARSEST_GAIN * _GAIN_STEP ** np.arange(QUALITIES)
    scales = rng.uniform(0.8, 1.2, num_channels) * 6 / np.sqrt(1 + np.arange(num_channels))
    rows: list[list[tuple[NDArray[np.uint32], int]]] = [
        [_laplacian_row(float(gain * scale)) for scale in scales] for gain in gains
    ]
    longest = max(row.size for per_channel in rows for row, _ in per_channel)
    cdf = [[np.pad(row, (0, longest - row.size)) for row, _ in channels] for channels in rows]
    gain = np.repeat(gains[:, np.newaxis], num_channels, axis=1).astype(np.float32)
    return Tables(
        gain=gain,
        inverse_gain=(1 / gain).astype(np.float32),
        cdf=np.array(cdf, dtype=np.uint32),
        cdf_length=np.array([[row.size for row, _ in channels] for channels in rows], np.int32),
        offset=np.array([[offset for _, offset in channels] for channels in rows], np.int32),
    )


def make_image(h: int, w: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return uint8 (h, w, 3): smooth colours, a bright box and a little noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:h, :w]
    angles = rows[..., np.newaxis] / 37 + columns[..., np.newaxis] / 53 + np.array([0.0, 1.0, 2.5])
    image = 128 + 70 * np.sin(angles + rng.uniform(0, 6)) + rng.normal(0, 4, (h, w, 3))
    image[h // 4 : h // 2, w // 3 : 2 * w // 3] += 50
    clipped: NDArray[np.uint8] = np.clip(image, 0, 255).astype(np.uint8)
    return clipped


def _laplacian_row(scale: float) -> tuple[NDArray[np.uint32], int]:
    reach = int(np.ceil(4 * scale)) + 1
    weights = np.exp(-np.abs(np.arange(-reach, reach + 1)) / scale)
    num_bins = weights.size + 1
    shared = TOTAL_FREQUENCY - num_bins  # every bin, the escape too, has at least 1
    frequencies = 1 + np.floor(weights / weights.sum() * shared * 0.999).astype(np.int64)
    frequencies = np.append(frequencies, 1)
    frequencies[reach] += TOTAL_FREQUENCY - frequencies.sum()
    return np.concatenate([[0], np.cumsum(frequencies)]).astype(np.uint32), -reach


def _patterns(rng: np.random.Generator) -> Array:
    """Return (M, 3, 16, 16): cosine patterns, lowest frequency first, turned within each group."""
    size = LATENT_STRIDE
    positions = (2 * np.arange(size) + 1) / (2 * size)
    waves = np.cos(np.pi * np.arange(size)[:, np.newaxis] * positions)  # (16, 16)
    waves /= np.linalg.norm(waves, axis=1, keepdims=True)
    order = sorted(
        (u + v + _CHROMA_DELAY * (colour > 0), colour, u, v)
        for colour in range(3)
        for u in range(size)
        for v in range(size)
    )
    chosen = np.array(
        [
            np.einsum("c,i,j->cij", _LUMA_CHROMA[colour], waves[u], waves[v])
            for _, colour, u, v in order[: LATENT_CHANNELS[-1]]
        ]
    )
    for start, stop in zip((0, *LATENT_CHANNELS[:-1]), LATENT_CHANNELS, strict=True):
        turn, _ = np.linalg.qr(np.eye(stop - start) + 0.1 * rng.normal(size=(stop - start,) * 2))
        chosen[start:stop] = np.tensordot(turn, chosen[start:stop], axes=1)
    return chosen.astype(np.float32)


def _analysis_graph(patterns: Array, level: int) -> onnx.ModelProto:
    """x -one strided convolution per group-> concat -> y: each level's prefix is exact."""
    starts = (0, *LATENT_CHANNELS[:level])
    nodes = []
    constants: dict[str, NDArray[np.generic]] = {}
    for group, start in enumerate(starts):
        weight = patterns[start : LATENT_CHANNELS[group]]
        constants[f"w_{group}"] = weight
        constants[f"b_{group}"] = -_GREY * weight.sum(axis=(1, 2, 3))
        nodes.append(
            _convolution("x", f"y_{group}", LATENT_STRIDE, weight=f"w_{group}", bias=f"b_{group}")
        )
    names = [f"y_{group}" for group in range(len(starts))]
    nodes.append(helper.make_node("Concat", names, ["y"], axis=1))
    return _graph(
        "g_a",
        nodes,
        [("x", ("B", 3, "H", "W"))],
        [("y", ("B", LATENT_CHANNELS[level], "h", "w"))],
        constants,
    )


def _synthesis_graph(patterns: Array, by_place: bool) -> onnx.ModelProto:
    bias = np.full((len(LATENT_CHANNELS), 3), _GREY, np.float32)
    return _latent_graph("g_s", "x_hat", patterns, bias, LATENT_STRIDE, by_place)


def _feature_graph(patterns: Array, rng: np.random.Generator, by_place: bool) -> onnx.ModelProto:
    stride = LATENT_STRIDE // FEATURE_STRIDE
    weight = _normal(rng, (patterns.shape[0], FEATURE_CHANNELS, stride, stride)) * 4
    bias = 0.1 * rng.normal(size=(len(LATENT_CHANNELS), FEATURE_CHANNELS)).astype(np.float32)
    return _latent_graph("feature_transform", "f_hat", weight, bias, stride, by_place)


def _latent_graph(
    name: str, output: str, weight: Array, bias: Array, stride: int, by_place: bool
) -> onnx.ModelProto:
    """(y_hat, level) -> transposed convolution of y_hat + a bias chosen by the level."""
    sides = [stride, stride]
    if by_place:
        kernel = np.tile(bias[:, :, np.newaxis, np.newaxis], (1, 1, stride, stride))
        bias = kernel.astype(np.float32)
    of_place = [
        helper.make_node(
            "ConvTranspose", ["level", "bias"], ["per_channel"], strides=sides, kernel_shape=sides
        )
    ]
    of_picture = [
        helper.make_node("MatMul", ["level", "bias"], ["chosen"]),
        helper.make_node("Unsqueeze", ["chosen", "axes"], ["per_channel"]),
    ]
    nodes = [
        helper.make_node(
            "ConvTranspose",
            ["y_hat", "weight"],
            ["spread"],
            strides=sides,
            kernel_shape=sides,
        ),
        *(of_place if by_place else of_picture),
        helper.make_node("Add", ["spread", "per_channel"], [output]),
    ]
    inputs = [
        ("y_hat", ("B", weight.shape[0], "h", "w")),
        ("level", ("B", len(LATENT_CHANNELS), *(("h", "w") if by_place else ()))),
    ]
    constants: dict[str, NDArray[np.generic]] = {
        "weight": weight,
        "bias": bias,
        "axes": np.array([2, 3], np.int64),
    }
    return _graph(name, nodes, inputs, [(output, ("B", weight.shape[1], "H", "W"))], constants)


def _tail_graph(
    f: tuple[str, Sequence[str | int]], rng: np.random.Generator
) -> tuple[onnx.ModelProto, dict[str, Array]]:
    nodes, outputs = [], []
    weights: dict[str, Array] = {}
    for i, (stride, anchors) in enumerate(HEAD_ANCHORS.items()):
        step = stride // FEATURE_STRIDE
        channels = len(anchors) * (5 + CLASSES)
        weights[f"weight_{i}"] = _normal(rng, (channels, FEATURE_CHANNELS, step, step)) * 3
        bias = np.tile(np.array([0, 0, 0, 0, -2] + [-3] * CLASSES, np.float32), len(anchors))
        weights[f"bias_{i}"] = bias
        nodes.append(_convolution("f", f"head_{i}", step, weight=f"weight_{i}", bias=f"bias_{i}"))
        outputs.append((f"head_{i}", ("B", channels, f"h_{i}", f"w_{i}")))
    return _graph("tail", nodes, [f], outputs, weights), weights


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    fan_in = float(np.prod(shape[1:]))
    weights: Array = (rng.normal(size=shape) / np.sqrt(fan_in)).astype(np.float32)
    return weights


def _convolution(
    source: str, target: str, stride: int, weight: str, bias: str | None = None
) -> onnx.NodeProto:
    inputs = [source, weight] if bias is None else [source, weight, bias]
    sides = [stride, stride]
    return helper.make_node("Conv", inputs, [target], strides=sides, kernel_shape=sides)


def _graph(
    name: str,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[tuple[str, Sequence[str | int]]],
    outputs: Sequence[tuple[str, Sequence[str | int]]],
    constants: dict[str, NDArray[np.generic]] | dict[str, Array],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        name,
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, list(s)) for n, s in inputs],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, list(s)) for n, s in outputs],
        [numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in constants.items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
    )


def _save_graph(model: onnx.ModelProto, path: Path) -> None:
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _cfg_text() -> str:
    lines = [
        "[net]",
        "channels=3",
        "",
        "[convolutional]",
        f"filters={FEATURE_CHANNELS}",
        f"size={FEATURE_STRIDE}",
        f"stride={FEATURE_STRIDE}",
        "activation=linear",
    ]
    for i, (stride, anchors) in enumerate(HEAD_ANCHORS.items()):
        step = stride // FEATURE_STRIDE
        flat = ",".join(f"{side:g}" for anchor in anchors for side in anchor)
        if i:
            lines += ["", "[route]", "layers=0"]
        lines += [
            "",
            "[convolutional]",
            f"filters={len(anchors) * (5 + CLASSES)}",
            f"size={step}",
            f"stride={step}",
            "activation=linear",
            "",
            "[yolo]",
            f"mask={','.join(map(str, range(len(anchors))))}",
            f"anchors={flat}",
            f"classes={CLASSES}",
            f"num={len(anchors)}",
        ]
    return "\n".join(lines) + "\n"


def _new_version(directory: Path, name: str) -> Path:
    target = directory / name / "1"
    target.mkdir(parents=True)
    return target


def _write_manifest(target: Path, fields: dict[str, object]) -> None:
    files = {
        path.name: {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "bytes": path.stat().st_size,
        }
        for path in sorted(target.iterdir())
    }
    manifest = {
        "format": 1,
        "version": 1,
        **fields,
        "files": files,
        "training": {},
        "figures": {},
        "licence": "Apache-2.0; made by tests, trained on nothing",
    }
    (target / "manifest.json").write_text(json.dumps(manifest, indent=2))
