"""A tuned second stage -> a new version of its codec, with the same fingerprint.

    codec's folder -copy: g_a, g_s, tables, ...-> models/<name>/<version>/
    checkpoint -average of weights-> weights.safetensors with all graphs, and tail.onnx with
                                     detector.cfg where the tail was tuned: half way between what
                                     was tuned and the uncut detector

`profile.json` is not carried over, nor what scores mean: its detection figures are those of the old
tail (`slimwire evaluate --profile` and `slimwire detector calibrate` measure new ones).
"""

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from pydantic import JsonValue

from slimcodec.model.load import load_codec_artifact, load_detector_artifact
from slimdetect.triage import TRIAGE_GRAPH, TRIAGE_SPEC
from slimnets.codec.codec import CodecNet
from slimnets.export.darknet import export_tail
from slimnets.export.onnx_file import save_graph
from slimtrain.artifact_folder import Json, new_version
from slimtrain.codec.artifact import load_codec, round_convolutions, shape_of, write_graphs
from slimtrain.detector.artifact import load_detector_model
from slimtrain.loop.checkpoint import load_checkpoint
from slimtrain.tail.model import TunedDecoder

_PREFIX = "feature_transform."
# Of the tail's weights. A tuned tail knows the cameras that it was tuned on by heart: half way back
# it finds as much there or more, and more on all others (docs/develop/measured.md).
# Source: Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022, arXiv:2109.01903.
_UNCUT_SHARE = 0.5


def write_tail_artifact(
    checkpoint: Path,
    codec: Path,
    detector: Path,
    out_dir: Path,
    training: Mapping[str, JsonValue],
) -> Path:
    """Write the folder of the tuned codec and return its path.

    Args:
        checkpoint: of `slimtrain.tail.train.train_tail`.
        codec, detector: the folders that the run began with. The new version names the detector,
            and has a tail of its own wherever the old one had, or it was tuned.
        out_dir: `.../<name>/<version>`, must not exist.
        training: free form, kept in the manifest as `training.second_stage`.

    Raises:
        ModelError: a file of the codec is missing.
        ValueError: the checkpoint belongs to another codec.
        ArtifactFolderError: `out_dir` exists or is of another form.
    """
    state = load_checkpoint(checkpoint)
    base = load_codec_artifact(codec)
    if state["fingerprint"] != base.manifest.fingerprint:
        raise ValueError(
            f"{checkpoint} tunes codec {state['fingerprint']}, {codec} is "
            f"{base.manifest.fingerprint}; give the codec that the run began with"
        )
    its = load_detector_artifact(detector).manifest
    split = its.split
    model = CodecNet(shape_of(state["config"]))
    given = load_codec(codec).state_dict()
    kept = {name: value for name, value in given.items() if not name.startswith(_PREFIX)}
    model.load_state_dict(kept, strict=False)
    decoder = TunedDecoder(model, load_detector_model(detector), split.layer)
    uncut = [weights.detach().clone() for weights in decoder.tail_parameters()]
    decoder.load_state_dict(state["average"]["state"])
    if state["tail_is_tuned"]:
        with torch.no_grad():
            for weights, of_uncut in zip(decoder.tail_parameters(), uncut, strict=True):
                weights.lerp_(of_uncut, _UNCUT_SHARE)
    round_convolutions(model)
    has_tail = bool(state["tail_is_tuned"]) or "tail.onnx" in base.manifest.files
    changes: dict[str, Json] = {
        "config": asdict(model.config),
        "detector": its.reference.model_dump(),
        "figures": {},
        "scores": [],  # those were of the old features
    }
    if has_tail:
        changes["split"] = split.model_dump()
    second_stage = {
        "from": base.label,
        "steps": int(state["step"]),
        "tail": "tuned, then half way back" if state["tail_is_tuned"] else "as it was",
        **training,
    }
    said = {"second_stage": second_stage}
    with new_version(base, out_dir, changes, said, keeps_profile=False) as folder:
        write_graphs(model, folder, by_place=base.manifest.prior == "context")
        if has_tail:
            save_graph(export_tail(decoder.tail, split.layer, int8=True), folder / "tail.onnx")
            shutil.copyfile(detector / "detector.cfg", folder / "detector.cfg")
        if base.manifest.detector != its.reference:  # triage learned another detector's classes
            for name in (TRIAGE_GRAPH, TRIAGE_SPEC):
                (folder / name).unlink(missing_ok=True)
    return out_dir
