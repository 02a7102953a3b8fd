"""What no policy can beat: the best choices of one who knows the link and every frame beforehand.

The search is in `schedule`. It does not keep to the credit and the pace, and waits for no ack;
where frames refer to frames, each takes what it takes against the best of references, and no key is
ever paid: each of these can only make the bound higher than what a policy reaches. A budget of
bytes is kept to on average, by a price for each byte:

    U(bytes <= B)  <=  min over price of  [ max (U - price * bytes) + price * B ]

Whatever the price, no choice within the budget has more, so this is a bound as well; how much
higher than the truth it is, is not known.

Source: Bellman's dynamic programming; Everett, Generalized Lagrange multiplier method for solving
problems of optimum allocation of resources, 1963.
"""

from __future__ import annotations

from dataclasses import dataclass

from slimcontrol.budget import BURST_SECONDS
from studies.controller.bound.schedule import Options, Search, find_options, search
from studies.controller.simulation.world import World

# At any frame; more are merged. Over 120 s of six links the bound was at most 0.2 % above choices
# that can be made in setting a of the study, 0.7 % in b (bench/simulator.py --limit 6);
# more states bring it down.
MAX_STATES = 300

_PRICE_STEPS = 6  # at most, of the search for the best price
_FEW_STATES = 60  # that search need not be exact
_NEAR = 0.002  # of the worth: no better price is worth looking for


@dataclass(frozen=True, slots=True)
class Bound:
    """In-deadline accuracies that the truth about the best policy lies between."""

    upper: float  # no policy in this world has more
    lower: float | None  # these choices have it, were there no credit and no pace; None: not sought
    merged_frames: int  # at which states were merged; 0: without a budget, `upper` is exact


def oracle(world: World) -> float:
    """Give an in-deadline accuracy that no policy exceeds in this world."""
    return bound(world).upper


def bound(
    world: World,
    *,
    max_states: int | None = MAX_STATES,
    allowed_bytes: float | None = None,
    with_lower: bool = False,
) -> Bound:
    """Search all choices.

    Args:
        max_states: More at any frame are merged; None = none ever are: the bound is exact, but may
            take ten times as long, or on a fast link with a long deadline much longer.
        allowed_bytes: Containers may take so many together; None = the most that the world's budget
            lets through, with all that may be sent ahead of it, or without a budget any number.
        with_lower: Search again for choices that can be made: it tells what merging has added.
    """
    if allowed_bytes is None and world.budget is not None:
        allowed_bytes = most_bytes(world)
    frames = world.frame_count
    options = _options(world, 0.0)
    found = search(world, options, max_states, optimistic=True)
    worth = found.worth
    if allowed_bytes is not None:
        worth = _worth_within(world, found, max_states, allowed_bytes)
    lower = None
    if with_lower and allowed_bytes is None:
        lower = search(world, options, max_states, optimistic=False).worth / frames
    return Bound(worth / frames, lower, found.merged_frames)


def most_bytes(world: World) -> float:
    """Container bytes that an edge sends at most that keeps to the world's budget."""
    assert world.budget is not None, "asked only where there is one"
    largest = int(world.content.scaled(world.image_hw).sizes.max())
    return world.budget.bytes_per_second * (world.seconds + BURST_SECONDS) + largest


def _options(world: World, bytes_price: float) -> list[Options]:
    return [find_options(world, frame, bytes_price) for frame in range(world.frame_count)]


@dataclass(frozen=True, slots=True)
class _Tangent:
    """The bound at one price of a byte, and how it changes with the price."""

    price: float
    worth: float
    slope: float

    def meets(self, other: _Tangent) -> float:
        """The price at which two tangents have one worth."""
        return (other.at(0.0) - self.at(0.0)) / (self.slope - other.slope)

    def at(self, price: float) -> float:
        return self.worth + (price - self.price) * self.slope


def _worth_within(
    world: World, free: Search, max_states: int | None, allowed_bytes: float
) -> float:
    """The least bound of a few prices; every price gives one, and it is convex in the price.

    Args:
        free: What was found where bytes cost nothing.
    """

    def at(price: float, most: int | None) -> _Tangent:
        found = search(world, _options(world, price), most, optimistic=True)
        worth = found.worth + price * allowed_bytes
        return _Tangent(price, worth, allowed_bytes - found.sent_bytes)

    falling = _Tangent(0.0, free.worth, allowed_bytes - free.sent_bytes)
    if falling.slope >= 0:
        return free.worth
    highest = max(
        world.utility(point) / world.fewest_bytes(k, point)
        for k in range(min(world.frame_count, len(world.content.sizes)))
        for point in world.points
    )  # no point is worth its bytes
    rising = _Tangent(highest, highest * allowed_bytes, allowed_bytes)
    least = rising
    for _ in range(_PRICE_STEPS):
        price = falling.meets(rising)
        hoped = falling.at(price)  # two tangents never lie above a convex curve
        found = at(price, _FEW_STATES)
        least = min(least, found, key=lambda tangent: tangent.worth)
        if found.slope < 0:
            falling = found
        else:
            rising = found
        if found.worth - hoped < _NEAR * found.worth:
            break
    return min(free.worth, least.worth, at(least.price, max_states).worth)
