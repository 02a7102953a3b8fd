"""Time in the cloud that keeps nobody busy delays results and costs no throughput."""

from __future__ import annotations

import dataclasses

import pytest

from studies.controller.errors import WorldError
from studies.controller.simulation.simulate import simulate
from studies.controller.simulation.world import World
from studies.controller.tests.simulated import Always, make_world


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


class LateWorld(World):
    """The second of three pictures is held up on its way into the cloud."""

    def receive_delay(self, frame: int) -> float:
        return (0.0, 0.25, 0.0)[frame]


def test_what_is_held_up_on_its_way_into_the_cloud_holds_up_what_follows() -> None:
    world = make_world(fps=10.0, seconds=0.3)
    plain = simulate(Always(), world)
    fields = {f.name: getattr(world, f.name) for f in dataclasses.fields(world) if f.init}

    late = simulate(Always(), LateWorld(**fields))

    times = [[f.received_at or 0.0 for f in run.frames] for run in (plain, late)]
    assert times[1] == pytest.approx([times[0][0], times[0][1] + 0.25, times[0][1] + 0.25])


def test_a_delay_below_0_is_no_world() -> None:
    with pytest.raises(WorldError, match="cloud_delay_seconds"):
        make_world(cloud_delay_seconds=-0.1)


@pytest.mark.parametrize(("greeting", "told"), [(None, 0.04), (0.14, 0.14)])
def test_the_policy_is_told_the_greeting_as_it_was_measured(
    greeting: float | None, told: float
) -> None:
    policy = Always()

    simulate(policy, make_world(round_trip_seconds=0.04, greeting_seconds=greeting))

    assert policy.told("connected") == [(0.0, told)]
