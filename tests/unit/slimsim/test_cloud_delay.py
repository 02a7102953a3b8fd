"""Time in the cloud that keeps nobody busy delays results and costs no throughput."""

from __future__ import annotations

import pytest

from slimsim.errors import WorldError
from slimsim.simulate import simulate
from slimsim.world import World
from support.simulated import Always, make_world


def results(world: World) -> tuple[list[float | None], list[tuple[float, ...]]]:
    """When each picture's result is at the edge, and what the policy hears of the cloud."""
    policy = Always()
    run = simulate(policy, world)
    return [frame.detected_at for frame in run.frames], policy.told("detected")


def test_every_result_comes_that_much_later_and_the_policy_sees_it() -> None:
    # The cloud is busy all the time: were the delay work, the last result would be far later.
    plain, heard = results(make_world(cloud_seconds=0.1, fps=10.0))
    delayed, heard_later = results(
        make_world(cloud_seconds=0.1, fps=10.0, cloud_delay_seconds=0.03)
    )

    assert None not in plain
    assert delayed == pytest.approx([at + 0.03 for at in plain if at is not None])
    for (received, detected), (received_again, later) in zip(heard, heard_later, strict=True):
        assert (received_again, later) == pytest.approx((received, detected + 0.03))


def test_a_delay_below_0_is_no_world() -> None:
    with pytest.raises(WorldError, match="cloud_delay_seconds"):
        make_world(cloud_delay_seconds=-0.1)
