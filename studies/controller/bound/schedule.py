"""Every way to send a recorded day's frames in time, and what the best of them is worth.

    frame k sent at a point:  start    = max(e, captured)            <= capture of frame k + 1
                              ready    = start + encode
                              left     = link's finish(max(ready, L), bytes)
                              detected = max(left + half a round trip + delay, C) + service
                              in time:   detected + the cloud's delay + half a round trip
                                         <= captured + deadline
                              -> (ready, left, detected, U + worth)
    skipped:                  -> (e, L, C, U)          see `frontier` for the letters

A frame whose result would be late is never worth sending, and to begin later is never better, so
nothing else need be tried. What lies so far back that no coming frame can feel it is forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from studies.controller.bound.frontier import Floats, States, drop_beaten, first_state, merge
from studies.controller.bound.transfers import finish_all
from studies.controller.simulation.world import World

_ROUNDING = 1e-9  # seconds; by so much may two ways to add the same times differ


class Options(NamedTuple):
    """What can be done with one frame, other than to skip it; each (J,)."""

    size_bytes: Floats  # of the container
    encode: Floats  # seconds
    worth: Floats


class Search(NamedTuple):
    """What the best way is worth, and how it was found."""

    worth: float  # of all frames together
    sent_bytes: float  # of its containers
    merged_frames: int  # at which states were merged; 0: the worth is exact


def find_options(world: World, frame: int, bytes_price: float = 0.0) -> Options:
    """Give a frame's points, without those that another one matches in bytes, time and worth.

    Args:
        bytes_price: What is taken from the worth for each container byte.
    """
    found = []
    for point in world.points:
        size_bytes = world.fewest_bytes(frame, point)
        worth = world.utility(point) - bytes_price * size_bytes
        if worth > 0 and size_bytes <= world.max_frame_bytes:
            encode = world.encode_time(frame, point.level)
            found.append((size_bytes, encode, worth))
    kept: list[tuple[int, float, float]] = []
    for size_bytes, encode, worth in sorted(found, key=lambda o: (o[0], o[1], -o[2])):
        if not any(e <= encode and w >= worth for _, e, w in kept):
            kept.append((size_bytes, encode, worth))
    columns = np.asarray(kept, np.float64).reshape(len(kept), 3).T
    return Options(columns[0], columns[1], columns[2])


def search(
    world: World, options: Sequence[Options], max_states: int | None, *, optimistic: bool
) -> Search:
    """Find the way that is worth the most.

    Args:
        options: Of each frame.
        max_states: More at any frame are merged; None = none ever are.
        optimistic: How they are merged: True gives no less than the truth, False no more.
    """
    if world.trace.mean == 0:
        return Search(0.0, 0.0, 0)
    shortest_encode, fewest_bytes = _least_to_come(options)
    states = first_state()
    merged_frames = 0
    for frame, choices in enumerate(options):
        states = _step(world, frame, states, choices)
        if frame + 1 == len(options):
            break
        encode, size_bytes = float(shortest_encode[frame + 1]), float(fewest_bytes[frame + 1])
        states = drop_beaten(_forget(world, frame + 1, states, encode, size_bytes))
        if max_states is not None and len(states.worth) > max_states:
            states = merge(states, max_states, optimistic=optimistic)
            merged_frames += 1
    best = int(states.worth.argmax())
    return Search(float(states.worth[best]), float(states.sent_bytes[best]), merged_frames)


def _least_to_come(options: Sequence[Options]) -> tuple[Floats, Floats]:
    """For each frame: the shortest encode time and the fewest bytes from there on."""
    encode = np.asarray([choices.encode.min(initial=np.inf) for choices in options])
    size_bytes = np.asarray([choices.size_bytes.min(initial=np.inf) for choices in options])
    return (
        np.minimum.accumulate(encode[::-1])[::-1],
        np.minimum.accumulate(size_bytes[::-1])[::-1],
    )


def _step(world: World, frame: int, states: States, choices: Options) -> States:
    """Skip the frame, or send it in every way that is in time."""
    half_trip, offset = world.round_trip_seconds / 2, world.trace_offset_seconds
    captured = world.captured_at(frame)
    able = states.take(states.encoder <= world.sent_at_latest(frame) + _ROUNDING)
    ready = np.maximum(able.encoder, captured)[:, None] + choices.encode  # (n, J)
    begin = np.maximum(ready, able.link[:, None])
    sizes = np.broadcast_to(choices.size_bytes + world.overhead_bytes, begin.shape)
    left = finish_all(world.trace, begin + offset, sizes) - offset
    arrived = left + half_trip + world.receive_delay(frame)
    detected = np.maximum(arrived, able.cloud[:, None]) + world.service_time(frame)
    told = detected + world.cloud_delay_seconds + half_trip
    in_time = told <= captured + world.deadline_seconds + _ROUNDING
    worth = able.worth[:, None] + choices.worth
    sent_bytes = able.sent_bytes[:, None] + choices.size_bytes
    sent = (column[in_time] for column in (ready, left, detected, worth, sent_bytes))
    return states.join(States(*sent))


def _forget(
    world: World, frame: int, states: States, shortest_encode: float, fewest_bytes: float
) -> States:
    """Raise every time to the earliest that a coming frame can feel: equal futures become equal."""
    if shortest_encode == np.inf:
        return states  # nothing will be sent any more
    half_trip, offset = world.round_trip_seconds / 2, world.trace_offset_seconds
    encoder = np.maximum(states.encoder, world.captured_at(frame))
    link = np.maximum(states.link, encoder + shortest_encode)
    sizes = np.full(link.shape, fewest_bytes + world.overhead_bytes)
    arrive = finish_all(world.trace, link + offset, sizes) - offset + half_trip
    cloud = np.maximum(states.cloud, arrive)
    return states._replace(encoder=encoder, link=link, cloud=cloud)
