"""A tuned second stage -> a new version of its codec, with the same fingerprint.

    codec's folder -copy: g_a, g_s, tables, ...-> models/<name>/<version>/
    checkpoint -average of weights-> weights.safetensors with all graphs, and tail.onnx with
                                     detector.cfg where the tail was tuned

`profile.json` is not carried over: its detection figures are those of the old tail
(`slimwire evaluate --profile` measures new ones).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import JsonValue

from slimcodec.model.artifact import load_codec_artifact, load_detector_artifact
from slimnets.codec.codec import Codec
from slimnets.codec.config import CodecConfig
from slimnets.export.darknet import export_tail
from slimnets.export.onnx_nodes import save_graph
from slimtrain.artifact_folder import file_records, new_artifact
from slimtrain.codec.artifact import load_codec_model, round_convolutions, write_graphs
from slimtrain.detector.artifact import load_detector_model
from slimtrain.loop.checkpoint import load_checkpoint
from slimtrain.tail.model import TunedDecoder

_PREFIX = "feature_transform."


def write_tail_artifact(
    checkpoint: Path,
    codec: Path,
    detector: Path,
    out_dir: Path,
    training: Mapping[str, JsonValue],
    figures: Mapping[str, JsonValue],
) -> Path:
    """Write the folder of the tuned codec and return its path.

    Args:
        checkpoint: of `slimtrain.tail.train.train_tail`.
        codec, detector: the folders that the run began with.
        out_dir: `.../<name>/<version>`, must not exist.
        training, figures: free form, kept in the manifest as `training.second_stage` and `figures`.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ModelError: a file of the codec is missing.
        ValueError: the checkpoint belongs to another codec.
        ArtifactFolderError: `out_dir` exists or is of another form.
    """
    state = load_checkpoint(checkpoint, torch.device("cpu"))
    if state is None:
        raise FileNotFoundError(f"{checkpoint}: no checkpoint; run `slimwire train tail` first")
    base = load_codec_artifact(codec)
    if state["fingerprint"] != base.manifest.fingerprint:
        raise ValueError(
            f"{checkpoint} tunes codec {state['fingerprint']}, {codec} is "
            f"{base.manifest.fingerprint}; give the codec that the run began with"
        )
    split = load_detector_artifact(detector).manifest.split
    model = Codec(CodecConfig.from_json(state["config"]))
    given = load_codec_model(codec).state_dict()
    kept = {name: value for name, value in given.items() if not name.startswith(_PREFIX)}
    model.load_state_dict(kept, strict=False)
    decoder = TunedDecoder(model, load_detector_model(detector), split.layer)
    decoder.load_state_dict(state["average"]["state"])
    round_convolutions(model)
    has_tail = bool(state["tail_is_tuned"]) or "tail.onnx" in base.manifest.files
    manifest = json.loads((codec / "manifest.json").read_text(encoding="utf-8"))
    with new_artifact(out_dir) as folder:
        for name in base.manifest.files:
            shutil.copyfile(base.file(name), folder / name)
        write_graphs(model, folder)
        if has_tail:
            save_graph(export_tail(decoder.tail, split.layer, int8=True), folder / "tail.onnx")
            shutil.copyfile(detector / "detector.cfg", folder / "detector.cfg")
            manifest["split"] = split.model_dump()
        manifest |= {
            "name": out_dir.parent.name,
            "version": int(out_dir.name),
            "config": model.config.to_json(),
            "files": file_records(folder),
            "training": manifest["training"]
            | {
                "second_stage": {
                    "from": base.label,
                    "steps": int(state["step"]),
                    "tail": "tuned" if state["tail_is_tuned"] else "as it was",
                    **training,
                }
            },
            "figures": dict(figures),
        }
        (folder / "manifest.json").write_text(
            json.dumps(manifest, indent=1) + "\n", encoding="utf-8"
        )
    return out_dir
