"""What a worker does with frames that need others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest

from slimcloud.detect.engine import EngineJob, EngineResult
from slimcloud.detect.metrics import DetectMetrics
from slimcloud.detect.worker import DetectWorker
from slimcloud.frame_id import FrameId
from slimcloud.settings import CloudSettings
from slimcloud.store.frames import Store
from slimcloud.store.records import DetectionResult, FrameState
from slimcodec.symbols import FrameSymbols
from slimops.metrics import Metrics
from support.cloud.frames import MadeFrame, make_frame, make_result


class NotingEngine:
    """Notes what it is given; of each frame it finds what its container says, unless told."""

    codec_label = "toy/1"
    detector_label = "toy-detector/1"
    min_score = 0.25

    def __init__(self) -> None:
        self.jobs: dict[int, EngineJob] = {}

    def latent_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        return image_hw

    def kept(self, frame_id: FrameId) -> FrameSymbols | None:
        return None

    async def detect(self, jobs: Sequence[EngineJob]) -> list[EngineResult]:
        for job in jobs:
            assert job.frame_id is not None
            self.jobs[job.frame_id.sequence] = job
        return [
            EngineResult(
                () if job.is_answered else make_result((job.base.decode(), 0.5)).detections,
                None,
                0.1,
                activity=0.25,
            )
            for job in jobs
        ]


def _frame(sequence: int, reference: int = 0, activity: float | None = None) -> MadeFrame:
    made = make_frame(sequence, reference=reference, container=b"car-%d" % sequence)
    return MadeFrame(made.record.model_copy(update={"activity": activity}), made.container)


async def _detect(
    store: Store,
    engine: NotingEngine,
    metrics: DetectMetrics | None = None,
    max_batch_size: int = 1,
) -> None:
    """Let a worker end what is queued."""
    settings = CloudSettings(max_batch_size=max_batch_size)
    worker = DetectWorker(store, engine, settings, metrics or DetectMetrics(Metrics("cloud")))
    tasks = [asyncio.create_task(worker.run()), asyncio.create_task(worker.serve_batches())]
    while await store.work.outstanding():
        await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _found(store: Store, sequence: int) -> DetectionResult:
    result = await store.get_detections(make_frame(sequence).frame_id)
    assert result is not None
    return result


async def test_a_frame_comes_with_all_that_it_needs(store: Store) -> None:
    engine = NotingEngine()
    for sequence in (1, 2, 3):
        await store.put_frame(*_frame(sequence, sequence - 1))

    await _detect(store, engine)

    chain = tuple((make_frame(n).frame_id, b"car-%d" % n) for n in (1, 2))
    assert [engine.jobs[n].needed for n in (1, 2, 3)] == [(), chain[:1], chain]
    stored = [await store.get_frame(make_frame(n).frame_id) for n in (1, 2, 3)]
    assert [frame.activity for frame in stored] == [0.25, 0.25, 0.25]


async def test_what_did_not_change_is_answered_as_its_reference_was(store: Store) -> None:
    engine, metrics = NotingEngine(), DetectMetrics(Metrics("cloud"))
    for frame in (_frame(1), _frame(2, 1, activity=0.0), _frame(3, 2, activity=0.0)):
        await store.put_frame(*frame)
        await _detect(store, engine, metrics)

    assert [engine.jobs[n].is_answered for n in (1, 2, 3)] == [False, True, True]
    assert [(await _found(store, n)).detections[0].label for n in (1, 2, 3)] == ["car-1"] * 3
    assert metrics.unchanged._value.get() == 2


async def test_what_did_not_change_waits_for_its_reference_in_one_batch(store: Store) -> None:
    engine = NotingEngine()
    changes = [(1, 0, None), (2, 1, 0.0), (3, 2, 0.5), (4, 2, 0.0), (5, 3, 0.0)]
    for sequence, reference, activity in changes:
        await store.put_frame(*_frame(sequence, reference, activity))

    await _detect(store, engine, max_batch_size=8)

    assert [n for n, job in engine.jobs.items() if not job.is_answered] == [1, 3]
    found = [(await _found(store, n)).detections[0].label for n in (1, 2, 3, 4, 5)]
    assert found == ["car-1", "car-1", "car-3", "car-1", "car-3"]


@pytest.mark.parametrize("state", [FrameState.DROPPED, FrameState.FAILED])
async def test_what_did_not_change_since_an_undetected_frame_is_detected(
    store: Store, state: FrameState
) -> None:
    engine = NotingEngine()
    await store.put_frame(*_frame(1))
    await store.put_frame(*_frame(2, 1, activity=0.0))
    if state is FrameState.DROPPED:
        await store.set_dropped(make_frame(1).frame_id, "late")
    else:
        await store.set_failed(make_frame(1).frame_id, "damaged")

    await _detect(store, engine)

    assert not engine.jobs[2].is_answered
    assert (await _found(store, 2)).detections[0].label == "car-2"
