"""What is drawn in a step, so that a run that goes on draws the same."""

import numpy as np


def draw_seed(*numbers: int) -> int:
    """A seed for what these numbers say: the run's seed, the step, what is drawn.

    All of them count: torch's generator on the CPU reads the lower 32 bits of a seed and no more.
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
