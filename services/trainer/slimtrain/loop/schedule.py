"""How fast is learned, step by step; and the bounds that a recipe's schedule is held to."""

import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Pixels = Annotated[int, Field(ge=64, multiple_of=32)]
Rate = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Share of the peak learning rate: a linear warm-up, then a cosine down to `last`."""

    warm_up: int  # steps, until Adam's second moments are worth something
    last: float  # share at the end
    # the cosine begins when the warm-up is over; else at once. Needs a number of steps
    waits: bool = False
    ahead: int = 0  # steps that a waiting cosine is ahead; 1 has `last` in the last step itself

    def share(self, step: int, steps: int | None, done: float) -> float:
        """Of this step, 0 being the first.

        Args:
            done: 0 to 1, of the steps or of the time, whichever is further.
        """
        warm = min(1.0, (step + 1) / max(1, self.warm_up))
        if self.waits:
            assert steps is not None
            done = max(0, step + self.ahead - self.warm_up) / max(1, steps - self.warm_up)
        return warm * (self.last + (1 - self.last) * 0.5 * (1 + math.cos(math.pi * done)))
