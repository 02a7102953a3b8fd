from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from slimcloud.detect.batcher import Batcher

Frame = tuple[str, str, int]  # camera, size, sequence


class Recorder:
    """Notes batches; while `gate` is closed the running batch does not end."""

    def __init__(self) -> None:
        self.batches: list[list[Frame]] = []
        self.started = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def run(self, batch: list[Frame]) -> None:
        self.batches.append(batch)
        self.started.set()
        await self.gate.wait()


def _batcher(
    *, max_batch_size: int = 3, delay: float = 0.0, max_queue_size: int = 100
) -> Batcher[Frame]:
    camera: Callable[[Frame], str] = lambda frame: frame[0]  # noqa: E731  # as short as its use
    return Batcher(
        key=lambda frame: frame[1],
        order=camera,
        max_batch_size=lambda _: max_batch_size,
        max_queue_delay_seconds=delay,
        max_queue_size=max_queue_size,
    )


@asynccontextmanager
async def _serving(batcher: Batcher[Frame], recorder: Recorder) -> AsyncIterator[None]:
    async def serve() -> None:
        while True:
            async with batcher.batch() as batch:
                await recorder.run(batch)

    task = asyncio.create_task(serve())
    try:
        yield
        await batcher.drained()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_batch_holds_equal_sizes_only_and_at_most_its_maximum() -> None:
    recorder = Recorder()
    batcher = _batcher()
    frames = [("a", "s", 1), ("b", "l", 1), ("c", "s", 1), ("d", "s", 1), ("e", "s", 1)]
    for frame in frames:
        await batcher.submit(frame)

    async with _serving(batcher, recorder):
        pass

    assert recorder.batches == [
        [("a", "s", 1), ("c", "s", 1), ("d", "s", 1)],
        [("b", "l", 1)],
        [("e", "s", 1)],
    ]


async def test_frame_never_passes_another_of_its_camera() -> None:
    recorder = Recorder()
    batcher = _batcher()
    for frame in [("a", "s", 1), ("b", "l", 1), ("b", "s", 2), ("a", "s", 2)]:
        await batcher.submit(frame)

    async with _serving(batcher, recorder):
        pass

    assert recorder.batches == [[("a", "s", 1), ("a", "s", 2)], [("b", "l", 1)], [("b", "s", 2)]]


async def test_camera_with_many_frames_does_not_keep_another_waiting() -> None:
    recorder = Recorder()
    recorder.gate.clear()
    batcher = _batcher(max_batch_size=2)
    async with _serving(batcher, recorder):
        for sequence in range(1, 8):
            await batcher.submit(("greedy", "s", sequence))
        await recorder.started.wait()
        await batcher.submit(("gate", "s", 1))
        recorder.gate.set()

    assert ("gate", "s", 1) in recorder.batches[1]
    greedy = [frame[2] for batch in recorder.batches for frame in batch if frame[0] == "greedy"]
    assert greedy == sorted(greedy)


async def test_full_batch_does_not_wait_for_its_delay() -> None:
    recorder = Recorder()
    batcher = _batcher(max_batch_size=2, delay=3600)

    async with _serving(batcher, recorder):
        await batcher.submit(("a", "s", 1))
        await batcher.submit(("b", "s", 1))
        await recorder.started.wait()

    assert recorder.batches == [[("a", "s", 1), ("b", "s", 1)]]


async def test_lone_frame_goes_after_its_delay() -> None:
    recorder = Recorder()
    batcher = _batcher(delay=0.01)

    async with _serving(batcher, recorder):
        await batcher.submit(("a", "s", 1))

    assert recorder.batches == [[("a", "s", 1)]]


async def test_full_queue_makes_the_next_frame_wait() -> None:
    recorder = Recorder()
    recorder.gate.clear()
    batcher = _batcher(max_batch_size=1, max_queue_size=2)

    async with _serving(batcher, recorder):
        await batcher.submit(("a", "s", 1))
        await recorder.started.wait()
        await batcher.submit(("a", "s", 2))
        await batcher.submit(("a", "s", 3))
        fourth = asyncio.create_task(batcher.submit(("a", "s", 4)))
        await asyncio.wait({fourth}, timeout=0.02)
        assert not fourth.done()

        recorder.gate.set()
        await fourth

    assert [batch[0][2] for batch in recorder.batches] == [1, 2, 3, 4]


async def test_items_that_cost_much_make_a_batch_of_fewer() -> None:
    recorder = Recorder()
    batcher: Batcher[Frame] = Batcher(
        key=lambda frame: frame[1],
        order=lambda frame: frame[0],
        max_batch_size=lambda frame: 1 if frame[1] == "l" else 3,
        max_queue_delay_seconds=3600.0,
        max_queue_size=100,
    )
    for frame in [("a", "l", 1), ("b", "l", 1), ("c", "s", 1), ("d", "s", 1), ("e", "s", 1)]:
        await batcher.submit(frame)

    async with _serving(batcher, recorder):
        recorder.gate.set()

    assert [len(batch) for batch in recorder.batches] == [1, 1, 3]


async def test_urgent_frame_goes_before_those_that_came_earlier() -> None:
    recorder = Recorder()
    batcher: Batcher[Frame] = Batcher(
        key=lambda frame: "any size",
        order=lambda frame: frame[:2],
        priority=lambda frame: ("review", "live", "backfill").index(frame[1]),
        max_batch_size=lambda _: 2,
        max_queue_delay_seconds=0.0,
        max_queue_size=100,
    )
    frames = [
        ("a", "backfill", 1),
        ("a", "live", 2),
        ("b", "backfill", 1),
        ("a", "live", 3),
        ("b", "review", 4),
    ]
    for frame in frames:
        await batcher.submit(frame)

    async with _serving(batcher, recorder):
        pass

    assert recorder.batches == [
        [("b", "review", 4), ("a", "live", 2)],
        [("a", "live", 3), ("a", "backfill", 1)],
        [("b", "backfill", 1)],
    ]
