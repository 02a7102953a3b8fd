"""`slimwire export`: a trained codec -> `models/<name>/<version>/`, which edge and cloud serve
without torch.

checkpoint -average of weights-> Codec -tabulate(training pictures)-> tables.npz
                                   |-> g_a_0.onnx ... g_s.onnx, feature_transform.onnx
                                   `-> weights.safetensors (to train on), manifest.json
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from slimcodec.fingerprint import compute_fingerprint
from slimcodec.image import pad_to_multiple, to_x
from slimcodec.manifest import MANIFEST_FORMAT, ModelReference
from slimcodec.tables import save_tables
from slimnets.codec import Codec
from slimnets.codec_onnx import export_feature_transform, export_g_a, export_g_s
from slimnets.config import LATENT_STRIDE, PAD_MULTIPLE, CodecConfig
from slimnets.count import count_macs
from slimnets.tabulate import tabulate
from slimtrain.artifact_folder import file_records, new_artifact
from slimtrain.checkpoint import load_checkpoint

Json = str | int | float | bool | None | Sequence["Json"] | Mapping[str, "Json"]

_COUNTED_SIDE = 256  # pixels; kMAC per pixel does not depend on it


def codec_from_checkpoint(path: Path) -> tuple[Codec, int]:
    """The averaged codec of a training run, and its steps."""
    state = load_checkpoint(path, torch.device("cpu"))
    if state is None:
        raise FileNotFoundError(f"{path}: no checkpoint; run `slimwire train codec` first")
    codec = Codec(CodecConfig.from_json(state["config"]))
    codec.load_state_dict(state["average"]["state"])
    return codec.float().eval(), int(state["step"])


def load_codec_model(folder: Path) -> Codec:
    """The torch codec of an artifact, float32, for the torch runtime or to train on."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    codec = Codec(CodecConfig.from_json(manifest["config"]))
    codec.load_state_dict(
        {k: v.float() for k, v in load_file(folder / "weights.safetensors").items()}
    )
    return codec.eval()


def write_codec_artifact(
    codec: Codec,
    pictures: Iterable[NDArray[np.uint8]],
    out_dir: Path,
    detector: ModelReference,
    training: Mapping[str, Json],
    figures: Mapping[str, Json],
    licence: str,
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
    """
    config = codec.config
    _round_convolutions(codec)
    x = (torch.from_numpy(pad_to_multiple(to_x(picture), PAD_MULTIPLE)) for picture in pictures)
    tables = tabulate(codec, x)
    probe = torch.zeros(1, 3, _COUNTED_SIDE, _COUNTED_SIDE)
    levels = [
        {
            "level": level,
            "latent_channels": config.latent_channels[level],
            "channels": list(config.channels[level]),
            "kmac_per_pixel": count_macs(codec.g_a.merge(level), probe) / _COUNTED_SIDE**2 / 1000,
        }
        for level in range(config.num_levels)
    ]
    structure: dict[str, object] = {
        "levels": levels,
        "qualities": config.qualities,
        "pad_multiple": PAD_MULTIPLE,
        "latent_stride": LATENT_STRIDE,
    }
    with new_artifact(out_dir) as folder:
        analysis = [
            export_g_a(codec, level).SerializeToString() for level in range(config.num_levels)
        ]
        for level, graph in enumerate(analysis):
            (folder / f"g_a_{level}.onnx").write_bytes(graph)
        (folder / "g_s.onnx").write_bytes(export_g_s(codec).SerializeToString())
        (folder / "feature_transform.onnx").write_bytes(
            export_feature_transform(codec).SerializeToString()
        )
        save_tables(folder / "tables.npz", tables)
        save_file(_stored_weights(codec), folder / "weights.safetensors")
        (folder / "weights.safetensors").chmod(0o644)  # safetensors writes 0600
        manifest = {
            "format": MANIFEST_FORMAT,
            "kind": "codec",
            "name": out_dir.parent.name,
            "version": int(out_dir.name),
            "fingerprint": compute_fingerprint(structure, tables, analysis),
            **structure,
            "prior": "factorized",
            "config": config.to_json(),
            "detector": detector.model_dump(),
            "files": file_records(folder),
            "training": training,
            "figures": figures,
            "licence": licence,
        }
        (folder / "manifest.json").write_text(
            json.dumps(manifest, indent=1) + "\n", encoding="utf-8"
        )
    return out_dir


@torch.no_grad()
def _round_convolutions(codec: Codec) -> None:
    """Round the convolutions' weights to float16, in place: what is stored is what is served."""
    for module in codec.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
            module.weight.copy_(module.weight.half().float())


def _stored_weights(codec: Codec) -> dict[str, torch.Tensor]:
    """Convolutions' weights as float16 (they hold no more), the rest as float32."""
    kernels = {
        f"{name}.weight"
        for name, module in codec.named_modules()
        if isinstance(module, (torch.nn.Conv2d, torch.nn.ConvTranspose2d))
    }
    return {
        name: (value.half() if name in kernels else value).contiguous()
        for name, value in codec.state_dict().items()
    }
