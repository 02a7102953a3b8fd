"""`slimwire export`: a trained codec -> `models/<name>/<version>/`, which edge and cloud serve
without torch.

checkpoint -average of weights-> CodecNet -tabulate(training pictures)-> tables.npz
                                      |-> weights.safetensors, once for all graphs and to train on
                                      |-> g_a_0.onnx ... g_s.onnx, feature_transform.onnx
                                      |-> with a hyperprior: h_a_0.onnx ... h_s_0.onnx ... hyper.npz
                                      `-> manifest.json
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from slimcodec.container import Streams
from slimcodec.entropy.coder import SymbolTables
from slimcodec.entropy.tables import Tables, compute_fingerprint, save_scale_tables, save_tables
from slimcodec.model.manifest import MANIFEST_FORMAT, ModelReference, Task
from slimcodec.pixels import pad_to_multiple, to_x
from slimnets.codec.codec import CodecNet
from slimnets.codec.config import LATENT_STRIDE, CodecConfig
from slimnets.codec.hyperprior import Hyperprior
from slimnets.count import count_macs
from slimnets.export.codec import (
    export_feature_transform,
    export_g_a,
    export_g_s,
    export_h_a,
    export_h_s,
)
from slimnets.export.onnx_file import WEIGHTS_FILE, save_graph, save_weights, to_array
from slimnets.export.tabulate import tabulate
from slimtrain.artifact_folder import Json, new_artifact, write_manifest
from slimtrain.data.pictures import divide, index_pictures, load_pictures
from slimtrain.loop.checkpoint import load_checkpoint

# Pictures on which the entropy tables are counted: symbols number in the millions by then.
TABULATED_PICTURES = 200
TABULATED_MAX_EDGE = 640  # pixels
_COUNTED_SIDE = 256  # pixels; kMAC per pixel does not depend on it
_HYPER_STRIDE = 4 * LATENT_STRIDE  # pixels


@dataclass(frozen=True, slots=True)
class TrainedCodec:
    """What a run of `slimwire train codec` has made so far."""

    codec: CodecNet  # with the averaged weights, float32
    steps: int  # optimiser steps that it has seen
    tasks: list[list[Task]]  # what each level was trained for, as in a manifest


def write_graphs(codec: CodecNet, folder: Path) -> None:
    """Write the codec's weights into its folder, and the graphs that name them."""
    weights = save_weights(codec, folder)
    for level in range(codec.config.num_levels):
        save_graph(export_g_a(codec, level, weights), folder / f"g_a_{level}.onnx")
        if isinstance(codec.prior, Hyperprior):
            save_graph(export_h_a(codec.prior, level, weights), folder / f"h_a_{level}.onnx")
            save_graph(export_h_s(codec.prior, level, weights), folder / f"h_s_{level}.onnx")
    save_graph(export_g_s(codec, weights), folder / "g_s.onnx")
    save_graph(export_feature_transform(codec, weights), folder / "feature_transform.onnx")


@dataclass(frozen=True, slots=True)
class CodecParts:
    """How a codec becomes files; other kinds than ours differ in these."""

    tabulate: Callable[[CodecNet, Iterable[Tensor]], tuple[Tables, SymbolTables | None]] = tabulate
    write_graphs: Callable[[CodecNet, Path], None] = write_graphs
    streams: Streams = "nested"


def codec_from_checkpoint(path: Path) -> TrainedCodec:
    """The codec of a training run."""
    state = load_checkpoint(path)
    codec = CodecNet(CodecConfig(**state["config"]))
    codec.load_state_dict(state["average"]["state"])
    return TrainedCodec(codec.float().eval(), int(state["step"]), state.get("tasks", []))


def load_codec(source: Path) -> CodecNet:
    """The torch codec of an artifact's folder or of a checkpoint, float32, to train on."""
    if not source.is_dir():
        return codec_from_checkpoint(source).codec
    manifest = json.loads((source / "manifest.json").read_text(encoding="utf-8"))
    codec = CodecNet(CodecConfig(**manifest["config"]))
    codec.load_state_dict({k: v.float() for k, v in load_file(source / WEIGHTS_FILE).items()})
    return codec.eval()


def export_codec(
    checkpoint: Path, images: Iterable[Path], out_dir: Path, detector: ModelReference, licence: str
) -> TrainedCodec:
    """Write the folder of a training run's codec; what is in it.

    Args:
        images: folders of the pictures that it was trained on; the entropy tables are counted on
            some of them.
        out_dir, detector, licence: as `write_codec_artifact` takes them.
    """
    trained = codec_from_checkpoint(checkpoint)
    pictures = training_pictures(images)
    write_codec_artifact(
        trained.codec,
        pictures,
        out_dir,
        detector,
        training={"steps": trained.steps, "tables_pictures": len(pictures)},
        figures={},
        licence=licence,
        tasks=trained.tasks,
    )
    return trained


def training_pictures(images: Iterable[Path]) -> list[NDArray[np.uint8]]:
    """Some of the pictures that a codec was trained on, spread over all folders."""
    entries, _ = divide(index_pictures(images))
    every = max(1, len(entries) // TABULATED_PICTURES)
    pictures = load_pictures(entries[::every][:TABULATED_PICTURES], TABULATED_MAX_EDGE)
    return [picture.image for picture in pictures]


def write_codec_artifact(
    codec: CodecNet,
    pictures: Iterable[NDArray[np.uint8]],
    out_dir: Path,
    detector: ModelReference,
    training: Mapping[str, Json],
    figures: Mapping[str, Json],
    licence: str,
    tasks: Sequence[Sequence[Task]] = (),
    parts: CodecParts | None = None,
) -> Path:
    """Write the folder of a codec and return its path.

    Args:
        codec: the weights to ship; they are rounded to float16 first, so that every file holds the
            same ones.
        pictures: (H, W, 3) uint8 training pictures on which the entropy tables are counted.
        out_dir: `.../<name>/<version>`, must not exist.
        detector: whose features the feature transform gives.
        training, figures: free form, kept in the manifest.
        licence: who may use the weights for what.
        tasks: what each level was trained for; empty: every level for both.
        parts: of another kind of codec; None: of one whose levels are nested.
    """
    config, parts = codec.config, parts or CodecParts()
    round_convolutions(codec)
    padded = (pad_to_multiple(to_x(picture), config.pad_multiple) for picture in pictures)
    x = (torch.from_numpy(picture) for picture in padded)
    tables, scale_tables = parts.tabulate(codec, x)
    structure = {**structure_of(config), "streams": parts.streams}
    with new_artifact(out_dir) as folder:
        parts.write_graphs(codec, folder)
        if scale_tables is not None:
            save_scale_tables(folder / "hyper.npz", scale_tables)
        save_tables(folder / "tables.npz", tables)
        said = {
            "format": MANIFEST_FORMAT,
            "kind": "codec",
            "fingerprint": compute_fingerprint(
                structure, tables, symbol_weights(codec), scale_tables
            ),
            **structure,
            "tasks": tasks,
            "config": asdict(config),
            "detector": detector.model_dump(),
            "training": training,
            "figures": figures,
            "licence": licence,
        }
        write_manifest(folder, out_dir, said)
    return out_dir


def structure_of(config: CodecConfig) -> dict[str, object]:
    """What a manifest says of a codec's shape; the fingerprint covers it."""
    levels: list[dict[str, object]] = [
        {
            "level": level,
            "latent_channels": config.latent_channels[level],
            "channels": list(config.channels[level]),
            "kmac_per_pixel": _edge_kmac_per_pixel(config, level),
        }
        for level in range(config.num_levels)
    ]
    structure: dict[str, object] = {
        "levels": levels,
        "qualities": config.qualities,
        "pad_multiple": config.pad_multiple,
        "latent_stride": LATENT_STRIDE,
        "prior": config.prior,
    }
    if config.prior == "hyperprior":
        structure["hyper_stride"] = _HYPER_STRIDE
        for level, channels in zip(levels, config.hyper_channels, strict=True):
            level["hyper_channels"] = channels
    return structure


def _edge_kmac_per_pixel(config: CodecConfig, level: int) -> float:
    """Of all that the edge runs: g_a, and with a hyperprior h_a and h_s, dense as their graphs."""
    dense = CodecNet(config.only(level))
    x = torch.zeros(1, 3, _COUNTED_SIDE, _COUNTED_SIDE)
    macs = count_macs(dense.g_a, x, 0)
    if isinstance(dense.prior, Hyperprior):
        macs += count_macs(dense.prior, dense.analyse(x, 0), 0)
    return macs / _COUNTED_SIDE**2 / 1000


def symbol_weights(codec: CodecNet) -> Iterator[bytes]:
    """The weights that the fingerprint covers, in the codec's order: g_a's and the prior's."""
    for name, tensor in codec.state_dict().items():
        if name.startswith(("g_a.", "prior.")):
            yield to_array(tensor).tobytes()


@torch.no_grad()
def round_convolutions(codec: CodecNet) -> None:
    """Round the convolutions' weights to float16, in place: what is stored is what is served."""
    for module in codec.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
            module.weight.copy_(module.weight.half().float())
