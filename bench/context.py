"""Tables and means that differ between ways of computing a context prior, in integers and floats.

    PYTHONPATH=tests python -m bench.context [--rounds N]

Each round is a new prior of random weights and new frames, intra and inter, 10.7 million symbols;
all are compared with numpy's on one thread. The floats are the same weights, each off by up to a
thousandth.
"""

from __future__ import annotations

import argparse
import platform

import numpy as np

from slimcodec.context.prior import NUM_SCALES
from support.models.context_runs import FRACTION, NUM_TABLES, REFERENCE, RUNS, run_apart


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    rounds = parser.parse_args().rounds
    symbols, scales = 0, np.zeros(NUM_SCALES, np.int64)
    differing = {name: [0, 0] for name in RUNS}
    for seed in range(rounds):
        for column, fraction in enumerate((0.0, FRACTION)):
            wanted = run_apart(seed, REFERENCE, fraction)
            if column == 0:
                symbols += wanted.size
                scales += np.bincount(wanted % NUM_TABLES * NUM_SCALES // NUM_TABLES)
            for name in RUNS:
                found = run_apart(seed, name, fraction)
                differing[name][column] += int((found != wanted).sum())
    print(
        f"{platform.processor() or platform.machine()}; numpy {np.__version__}; {symbols:,} "
        f"symbols, {int((scales > 0).sum())} of {NUM_SCALES} scales occur\n"
    )
    print(f"| against {REFERENCE}, its own kernels | integers | floats |\n|---|---|---|")
    for name, (integer, floating) in differing.items():
        print(f"| {name} | {integer:,} | {floating:,} |")


if __name__ == "__main__":
    main()
