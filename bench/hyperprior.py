"""Scale indexes that differ between ways of running h_s: in integers, and left in floats.

    python -m bench.hyperprior [--rounds N]

Each round is a new network of random weights in the range of trained ones and new side information,
28.3 million latents; indexes are compared with torch's in float32 on one thread.
"""

from __future__ import annotations

import argparse
import platform

import onnxruntime
import openvino
import torch

from studies.paper.hyperprior import NUM_SCALES
from studies.paper.scale_runs import (
    BATCH,
    RUNS,
    FloatScales,
    IntegerScales,
    Scales,
    draw_z_hat,
    make_hyperprior,
    openvino_run,
    reference,
)

PICTURES = 16
SIDE = 24  # of z; 1,536 x 1,536 pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    rounds = parser.parse_args().rounds
    latents, counts = 0, torch.zeros(NUM_SCALES)
    runs = RUNS | {"OpenVINO bf16 (never used so)": openvino_run(2, BATCH, "bf16")}
    differing = {name: [0, 0] for name in runs}
    for seed in range(rounds):
        z_hat = draw_z_hat(seed, PICTURES, SIDE)
        hyperprior = make_hyperprior(seed)
        networks: list[Scales] = [IntegerScales(hyperprior), FloatScales(hyperprior)]
        for column, scales in enumerate(networks):
            wanted = reference(scales, z_hat)
            if column == 0:
                latents += wanted.numel()
                counts += torch.histc(wanted, NUM_SCALES, 0, NUM_SCALES - 1)
            for name, run in runs.items():
                differing[name][column] += int((run(scales, z_hat) != wanted).sum())
    print(
        f"{platform.processor() or platform.machine()}; torch {torch.__version__}, OpenVINO "
        f"{openvino.__version__.split('-')[0]}, ONNX Runtime {onnxruntime.__version__}; "
        f"{latents:,} latents, {int((counts > 0).sum())} of 64 indexes occur\n"
    )
    print("| against torch, float32, 1 thread | integer h_s | float h_s |\n|---|---|---|")
    for name, (integer, floating) in differing.items():
        print(f"| {name} | {integer:,} | {floating:,} |")


if __name__ == "__main__":
    main()
