"""`slimwire export`: a trained codec -> `models/<name>/<version>/`, which edge and cloud serve
without torch.

checkpoint -average of weights-> CodecNet -tabulate(training pictures)-> tables.npz
                                      |-> weights.safetensors, once for all graphs and to train on
                                      |-> g_a_0.onnx ... g_s.onnx, feature_transform.onnx
                                      `-> manifest.json
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from slimcodec.container import Streams
from slimcodec.entropy.symbol_tables import SymbolTables
from slimcodec.entropy.tables import Tables, compute_fingerprint, save_scale_tables, save_tables
from slimcodec.model.manifest import MANIFEST_FORMAT, ModelReference, Task
from slimcodec.pixels import pad_to_multiple, to_x
from slimnets.codec.codec import CodecNet
from slimnets.codec.config import LATENT_STRIDE, CodecConfig
from slimnets.codec.transform import AnalysisTransform
from slimnets.count import count_macs
from slimnets.export.codec import export_feature_transform, export_g_a, export_g_s
from slimnets.export.onnx_file import (
    WEIGHTS_FILE,
    StoredWeights,
    save_graph,
    save_weights,
    to_array,
)
from slimnets.export.tabulate import tabulate
from slimtrain.artifact_folder import Json, new_artifact, write_manifest
from slimtrain.data.pictures import divide, index_pictures, load_pictures
from slimtrain.loop.checkpoint import load_checkpoint

# Pictures on which the entropy tables are counted: symbols number in the millions by then.
TABULATED_PICTURES = 200
TABULATED_MAX_EDGE = 640  # pixels
COUNTED_SIDE = 256  # pixels; kMAC per pixel does not depend on it


@dataclass(frozen=True, slots=True)
class TrainedCodec:
    """What a run of `slimwire train codec` has made so far."""

    codec: CodecNet  # with the averaged weights, float32
    steps: int  # optimiser steps that it has seen
    tasks: list[list[Task]]  # what each level was trained for, as in a manifest


def write_graphs(codec: CodecNet, folder: Path, by_place: bool = False) -> None:
    """Write the codec's weights into its folder, and the graphs that name them.

    `by_place`: of a codec with the context prior, where each place has its own level.
    """
    weights = save_weights(codec, folder)
    for level in range(codec.config.num_levels):
        save_graph(export_g_a(codec, level, weights), folder / f"g_a_{level}.onnx")
    write_decoder_graphs(codec, weights, folder, by_place)


def write_decoder_graphs(
    codec: CodecNet, weights: StoredWeights, folder: Path, by_place: bool
) -> None:
    """Write what reads a latent: g_s and the feature transform."""
    save_graph(export_g_s(codec, weights, by_place), folder / "g_s.onnx")
    transform = export_feature_transform(codec, weights, by_place)
    save_graph(transform, folder / "feature_transform.onnx")


def _tabulate(codec: CodecNet, x: Iterable[Tensor]) -> tuple[Tables, SymbolTables | None]:
    return tabulate(codec, x), None


def structure_of(config: CodecConfig) -> dict[str, object]:
    """What a manifest says of a codec's shape; the fingerprint covers it."""
    return {
        "levels": [
            {
                "level": level,
                "latent_channels": config.latent_channels[level],
                "channels": list(config.channels[level]),
                "kmac_per_pixel": _edge_kmac_per_pixel(config, level),
            }
            for level in range(config.num_levels)
        ],
        "qualities": config.qualities,
        "pad_multiple": config.pad_multiple,
        "latent_stride": LATENT_STRIDE,
        "prior": config.prior,
    }


@dataclass(frozen=True, slots=True)
class CodecParts:
    """How a codec becomes files; other kinds than ours differ in these.

    `tabulate` gives the tables by channel, and others beside them by which symbols are coded.
    """

    tabulate: Callable[[CodecNet, Iterable[Tensor]], tuple[Tables, SymbolTables | None]] = _tabulate
    write_graphs: Callable[[CodecNet, Path], None] = write_graphs
    structure: Callable[[CodecConfig], dict[str, object]] = structure_of
    streams: Streams = "nested"


def codec_from_checkpoint(path: Path) -> TrainedCodec:
    """The codec of a training run."""
    state = load_checkpoint(path)
    return TrainedCodec(load_codec(path), int(state["step"]), state.get("tasks", []))


def read_codec(source: Path) -> tuple[Mapping[str, Any], dict[str, Tensor]]:
    """What an artifact's folder or a checkpoint says of its shape, and its weights, float32."""
    if source.is_dir():
        manifest = json.loads((source / "manifest.json").read_text(encoding="utf-8"))
        config, weights = manifest["config"], load_file(source / WEIGHTS_FILE)
    else:
        state = load_checkpoint(source)
        config, weights = state["config"], state["average"]["state"]
    return config, {name: value.float() for name, value in weights.items()}


def load_codec(source: Path) -> CodecNet:
    """The torch codec of an artifact's folder or of a checkpoint, to train on.

    In place of a hyperprior, which is a study's (`studies.paper`), it has a prior that has learned
    nothing yet.
    """
    said, weights = read_codec(source)
    codec = CodecNet(shape_of(said))
    if said.get("prior") == "hyperprior":
        own = {name: value for name, value in codec.state_dict().items() if _is_prior(name)}
        weights = {name: value for name, value in weights.items() if not _is_prior(name)} | own
    codec.load_state_dict(weights)
    return codec.eval()


def shape_of(said: Mapping[str, Any]) -> CodecConfig:
    """The shape that a manifest or a checkpoint says, without what is a hyperprior's."""
    shape = {key: value for key, value in said.items() if key != "hyper_channels"}
    return CodecConfig(**{**shape, "prior": "factorized"})


def _is_prior(name: str) -> bool:
    return name.startswith("prior.")


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
    structure = {**parts.structure(config), "streams": parts.streams}
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


def _edge_kmac_per_pixel(config: CodecConfig, level: int) -> float:
    """Of g_a, dense as its graph."""
    dense = AnalysisTransform(config.only(level))
    x = torch.zeros(1, 3, COUNTED_SIDE, COUNTED_SIDE)
    return count_macs(dense, x, 0) / COUNTED_SIDE**2 / 1000


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
