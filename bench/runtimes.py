"""How long one picture's g_a takes in each runtime, in one interleaved run.

    python -m bench.runtimes --rounds 60

The levels are those of `CodecConfig`, dense as they are exported, with untrained weights (the time
does not depend on the values). The runtimes take turns inside every round, so that other load on
the machine falls on all of them alike; the ratio is the median of the rounds' ratios. Every turn
begins with a pause and an untimed call: the thread pools of torch and ONNX Runtime go on spinning
after a call, and would be charged to whoever comes next (without the pause the narrow level looked
twice as slow in OpenVINO as it is). Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from slimcodec.graph.openvino_runtime import load_openvino
from slimnets.codec.config import CodecConfig
from slimnets.codec.transform import AnalysisTransform

_IMAGE_HW = (480, 640)  # pixels
_WARM_UP_ROUNDS = 2
_PAUSE_SECONDS = 0.05  # longer than any of the pools spins
_CALLS_PER_TURN = 3
_SEED = 20261122

Run = Callable[[], NDArray[np.float32]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=60, help="timed rounds for each level")
    parser.add_argument("--threads", type=int, default=2, help="threads of every runtime")
    args = parser.parse_args()

    torch.manual_seed(_SEED)
    torch.set_num_threads(args.threads)
    config = CodecConfig()
    x = np.random.default_rng(_SEED).random((1, 3, *_IMAGE_HW), dtype=np.float32)

    print(
        f"{_processor()}, {os.cpu_count()} cores, {args.threads} threads, "
        f"load {os.getloadavg()[0]:.1f}\n"
        f"openvino {version('openvino')}, onnxruntime {version('onnxruntime')}, "
        f"torch {version('torch')}; "
        f"{_IMAGE_HW[1]} x {_IMAGE_HW[0]} pixels, {args.rounds} rounds\n"
    )
    print("| channels | runtime | median | best | / OpenVINO f32 | difference from eager |")
    print("|---|---|---|---|---|---|")
    for level in (0, config.num_levels - 1):
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "g_a.onnx"
            model = _Level(config, level).eval()
            _export(model, torch.from_numpy(x), path)
            runs = _runs(model, path, x, args.threads)
            seconds = _measure(runs, args.rounds)
        y = runs["eager torch f32"]()
        base = seconds["OpenVINO f32"]
        for name, times in seconds.items():
            ratio = statistics.median(t / b for t, b in zip(times, base, strict=True))
            difference = float(np.abs(runs[name]() - y).max() / np.abs(y).max())
            print(
                f"| {'-'.join(map(str, config.channels[level]))} | {name} "
                f"| {statistics.median(times) * 1e3:.1f} ms | {min(times) * 1e3:.1f} ms "
                f"| {ratio:.2f} | {difference:.0e} |"
            )


class _Level(torch.nn.Module):
    def __init__(self, config: CodecConfig, level: int) -> None:
        super().__init__()
        self.g_a = AnalysisTransform(config.only(level))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.g_a(x, 0)
        return y


def _export(model: torch.nn.Module, x: torch.Tensor, path: Path) -> None:
    with warnings.catch_warnings():
        # the script exporter is deprecated, and is the one that needs no further packages
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (x,),
            path,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes={"x": {2: "h", 3: "w"}},
            opset_version=17,
            dynamo=False,
        )


def _runs(
    model: torch.nn.Module, path: Path, x: NDArray[np.float32], num_threads: int
) -> dict[str, Run]:
    return {
        "OpenVINO f32": _openvino(path, x, num_threads, "f32"),
        "OpenVINO bf16": _openvino(path, x, num_threads, "bf16"),
        "OpenVINO bf16, fixed size": _openvino(path, x, num_threads, "bf16", fixed=True),
        "ONNX Runtime f32": _onnxruntime(path, x, num_threads),
        "eager torch f32": _eager(model, x, torch.float32),
        "eager torch bf16": _eager(model, x, torch.bfloat16),
    }


def _openvino(
    path: Path, x: NDArray[np.float32], num_threads: int, precision: str, *, fixed: bool = False
) -> Run:
    core = load_openvino().Core()
    model = core.read_model(path)
    if fixed:
        model.reshape({"x": list(x.shape)})
    compiled = core.compile_model(
        model,
        "CPU",
        {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": num_threads,
        },
    )
    request = compiled.create_infer_request()

    def run() -> NDArray[np.float32]:
        return np.array(request.infer({"x": x})[0])

    return run


def _onnxruntime(path: Path, x: NDArray[np.float32], num_threads: int) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run() -> NDArray[np.float32]:
        y: NDArray[np.float32] = session.run(None, {"x": x})[0]
        return y

    return run


def _eager(model: torch.nn.Module, x: NDArray[np.float32], dtype: torch.dtype) -> Run:
    given = torch.from_numpy(x).contiguous(memory_format=torch.channels_last)

    def run() -> NDArray[np.float32]:
        with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            y: NDArray[np.float32] = model(given).float().numpy()
        return y

    return run


def _measure(runs: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for index in range(-_WARM_UP_ROUNDS, rounds):
        for name, run in runs.items():
            time.sleep(_PAUSE_SECONDS)
            run()
            start = time.perf_counter()
            for _ in range(_CALLS_PER_TURN):
                run()
            if index >= 0:
                seconds[name].append((time.perf_counter() - start) / _CALLS_PER_TURN)
    return seconds


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
