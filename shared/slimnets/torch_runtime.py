"""The same graphs on torch, for GPUs: a `slimcodec.graph.runtime.Runtime` that builds modules from
`weights.safetensors`.

A graph is asked for by the path of its ONNX file (`.../g_a_2.onnx`); the module of that name is
built from the weights beside it, so both runtimes serve one artifact. A codec's own `tail.onnx` is
built from its `detector.cfg` and the constants of the graph itself.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from enum import Enum
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from slimcodec.errors import ModelError
from slimcodec.graph.runtime import Graph
from slimnets.codec.codec import Codec
from slimnets.codec.config import CodecConfig
from slimnets.codec.hyperprior import Hyperprior
from slimnets.darknet.detector import Darknet, parse_cfg
from slimnets.darknet.fold import load_tail
from slimnets.errors import NetError


class GroupWise(Enum):
    """How g_a runs: one dense convolution per layer, or one per level's group (exact prefixes)."""

    MERGED = "merged"
    PER_GROUP = "per group"


_Function = Callable[[dict[str, Tensor]], dict[str, Tensor]]


class TorchRuntime:
    """Runs graphs with torch.

    Args:
        device: such as "cuda" or "cpu".
        autocast: compute in bf16 where torch's autocast does.
        analysis: how g_a runs.
    """

    def __init__(
        self,
        device: str = "cuda",
        autocast: bool = False,
        analysis: GroupWise = GroupWise.MERGED,
    ) -> None:
        self._device = torch.device(device)
        self._autocast = autocast
        self._analysis = analysis

    def load(self, path: Path) -> Graph:
        """The graph of `path`, from the weights beside it.

        Raises:
            ModelError: weights or manifest are missing, or the name is none of ours.
        """
        return self._load(path, self._autocast)

    def load_exact(self, path: Path) -> Graph:
        """As `load`, in float32 whatever the precision of the others."""
        return self._load(path, autocast=False)

    def _load(self, path: Path, autocast: bool) -> Graph:
        folder, name = path.parent, path.stem
        try:
            manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
            state = {k: v.float() for k, v in load_file(folder / "weights.safetensors").items()}
            if manifest["kind"] == "codec" and name == "tail":
                function = _own_tail_function(path, int(manifest["split"]["layer"]), self._device)
            elif manifest["kind"] == "codec":
                codec = Codec(CodecConfig.from_json(manifest["config"]))
                function = _codec_function(codec, state, name, self._device, self._analysis)
            else:
                cfg = (folder / "detector.cfg").read_text(encoding="utf-8")
                model, split = Darknet(parse_cfg(cfg)), int(manifest["split"]["layer"])
                function = _detector_function(model, state, name, split, self._device)
        except (OSError, KeyError, RuntimeError, NetError) as exc:
            raise ModelError(f"{path}: cannot be built from the weights there: {exc}") from exc
        return _TorchGraph(function, self._device, autocast)


class _TorchGraph:
    def __init__(self, function: _Function, device: torch.device, autocast: bool) -> None:
        self._function, self._device, self._autocast = function, device, autocast
        self._lock = threading.Lock()  # a device gains nothing from interleaved calls

    def __call__(self, **inputs: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        tensors = {
            name: torch.from_numpy(np.ascontiguousarray(a)).to(self._device)
            for name, a in inputs.items()
        }
        with (
            self._lock,
            torch.inference_mode(),
            torch.autocast(self._device.type, torch.bfloat16, enabled=self._autocast),
        ):
            outputs = self._function(tensors)
        return {name: value.float().cpu().numpy() for name, value in outputs.items()}


def _codec_function(
    codec: Codec, state: dict[str, Tensor], name: str, device: torch.device, analysis: GroupWise
) -> _Function:
    codec.load_state_dict(state)
    codec.eval().to(device)
    if name == "g_s":
        return lambda given: {"x_hat": codec.g_s(given["y_hat"], given["level"])}
    if name == "feature_transform":
        return lambda given: {"f_hat": codec.feature_transform(given["y_hat"], given["level"])}
    kind, _, number = name.rpartition("_")
    if number.isdigit() and int(number) < codec.config.num_levels:
        level = int(number)
        if kind == "g_a" and analysis is GroupWise.PER_GROUP:
            return lambda given: {"y": codec.g_a(given["x"], level)}
        if kind == "g_a":
            g_a = codec.g_a.merge(level).to(device)
            return lambda given: {"y": g_a(given["x"])}
        prior = codec.prior_of(level)
        own = level if codec.config.sharing == "nested" else 0
        if kind == "h_a" and isinstance(prior, Hyperprior):
            return lambda given: {"z": prior.analyse(given["v"], own)}
        if kind == "h_s" and isinstance(prior, Hyperprior):
            return lambda given: {"scale_index": prior.scale_index(given["z_hat"], own)}
    raise KeyError(f"a codec has no graph {name}")


def _detector_function(
    model: Darknet, state: dict[str, Tensor], name: str, split: int, device: torch.device
) -> _Function:
    model.load_state_dict(state, strict=False)  # stored without the counters of the norms
    model.eval().to(device)
    if name == "stem":
        return lambda given: {"f": model.stem(given["x"], split)}
    if name == "tail":
        return lambda given: _heads(model, given["f"], split)
    raise KeyError(f"a detector has no graph {name}")


def _own_tail_function(path: Path, split: int, device: torch.device) -> _Function:
    cfg = path.with_name("detector.cfg").read_text(encoding="utf-8")
    model = load_tail(Darknet(parse_cfg(cfg)), split, path).to(device)
    return lambda given: _heads(model, given["f"], split)


def _heads(model: Darknet, f: Tensor, split: int) -> dict[str, Tensor]:
    return {f"head_{i}": raw for i, raw in enumerate(model.tail(f, None, split))}
