"""A real edge, and a real cloud that is killed and comes back: nothing is lost in between."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from PIL import Image

from slimcloud.store.feed import FeedKind
from slimcloud.store.frames import Store
from slimcloud.store.records import FrameState, Lane, StoredFrame
from slimedge.app import run_edge
from slimedge.event import (
    Acked,
    Backfilled,
    Detected,
    Encoded,
    GapRecorded,
    LinkChanged,
    LinkState,
    Lost,
    Spooled,
    Stage,
)
from slimedge.gap import Gap, GapReason
from slimedge.memory.spool import Spool
from slimedge.settings import EdgeSettings
from slimops.storage.redis_connection import redis_client
from support.cloud.cloud_process import cloud_process
from support.cloud.whole_cloud import ToyModels, cloud_settings, open_cloud
from support.edge.edge_recorder import EdgeRecorder
from support.models.toy_artifact import make_image

HW = (48, 64)
OUTAGE_FRAMES = 8
EARLIER_EPOCH = 3


@pytest.fixture(scope="module")
def toy_models(tmp_path_factory: pytest.TempPathFactory) -> ToyModels:
    return ToyModels(tmp_path_factory.mktemp("models"))


@pytest.fixture
def edge_settings(toy_models: ToyModels, tmp_path: Path) -> EdgeSettings:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for index in range(3):
        Image.fromarray(make_image(*HW, seed=index)).save(pictures / f"{index}.png")
    return EdgeSettings(
        camera_id="gate",
        source=str(pictures),
        loop=True,
        picture_fps=20.0,
        model="toy",
        models_root=toy_models.root,
        encoder_threads=1,
        deadline_seconds=60,  # a live frame that is later than that goes as backfill
        expire_seconds=600,  # on a slow machine, too
        spool_folder=tmp_path / "spool",
        spool_fps=20.0,
        reconnect_min_seconds=0.05,
        reconnect_max_seconds=0.2,
    )


@asynccontextmanager
async def edge_running(settings: EdgeSettings, recorder: EdgeRecorder) -> AsyncIterator[None]:
    stop = asyncio.Event()
    running = asyncio.create_task(run_edge(settings, recorder, stop=stop))
    try:
        yield
    finally:
        stop.set()
        await running


async def test_an_outage_and_a_restart_of_the_edge_lose_nothing_and_make_no_live_event(
    redis_url: str, toy_models: ToyModels, edge_settings: EdgeSettings, tmp_path: Path
) -> None:
    client = redis_client(redis_url)
    store, state = Store(client), tmp_path / "state.json"
    before, after = EdgeRecorder(), EdgeRecorder()
    with cloud_process(toy_models, state, redis_url=redis_url) as cloud:
        address = cloud.addresses["grpc"]
        settings = edge_settings.model_copy(update={"cloud_address": address})
        async with edge_running(settings, before):
            await before.wait_until(lambda: len(before.of(Detected)) >= 3)
            cloud.process.kill()
            await before.wait_until(lambda: len(before.of(Spooled)) >= OUTAGE_FRAMES)
    kept = {event.sequence for event in before.of(Spooled)}

    port = int(address.rpartition(":")[2])
    with cloud_process(toy_models, state, redis_url=redis_url, grpc_port=port):
        async with edge_running(settings, after):
            await after.wait_until(lambda: len(after.of(Backfilled)) >= len(kept))
            await after.wait_until(lambda: len(after.of(Detected)) >= 3)
        records = await settled_frames(store)
    events = await store.feed.read("0-0", count=10_000)
    await client.aclose()

    assert before.of(Lost) == after.of(Lost) == []
    first_epoch = min(record.frame_id.epoch for record in records)
    first_start = {r.frame_id.sequence: r for r in records if r.frame_id.epoch == first_epoch}
    assert set(first_start) == {event.sequence for event in before.of(Encoded)}
    assert {event.sequence for event in after.of(Backfilled)} == kept
    assert {n for n, record in first_start.items() if record.lane is Lane.BACKFILL} <= kept
    assert len(kept) >= OUTAGE_FRAMES
    assert {record.state for record in records} == {FrameState.DETECTED}
    told = {event.frame_id: event.kind for event in events if event.frame_id is not None}
    for record in records:
        expected = (
            FeedKind.FRAME_BACKFILLED if record.lane is Lane.BACKFILL else FeedKind.FRAME_DETECTED
        )
        assert told[record.frame_id] is expected


async def test_a_gap_that_an_earlier_start_left_is_on_record_in_the_cloud(
    redis_url: str, toy_models: ToyModels, edge_settings: EdgeSettings
) -> None:
    folder = edge_settings.spool_folder
    assert folder is not None
    folder.mkdir()
    spool = Spool(folder / "gate.spool", EARLIER_EPOCH)
    begin = float(round(time.time()) - 3600)
    left = Gap(GapReason.SPOOL_FULL, begin, begin + 60.5, 61, 61_000, 40, 100, EARLIER_EPOCH)
    number = spool.add_gap(left).number
    spool.close()

    async with open_cloud(cloud_settings(toy_models, redis_url)) as cloud:
        settings = edge_settings.model_copy(update={"cloud_address": cloud.grpc_address})
        async with edge_running(settings, EdgeRecorder()):
            while not (gaps := await cloud.store.gaps.list("gate")):
                await asyncio.sleep(0.02)

    (gap,) = gaps
    assert (gap.epoch, gap.gap_number, gap.reason) == (EARLIER_EPOCH, number, "spool_full")
    assert gap.from_unix_us == begin * 1_000_000
    assert gap.to_unix_us == gap.from_unix_us + 60_500_000
    assert (gap.dropped_frames, gap.dropped_bytes) == (61, 61_000)
    assert (gap.first_sequence, gap.last_sequence) == (40, 100)


async def settled_frames(store: Store) -> list[StoredFrame]:
    """All stored frames, when each has its outcome."""
    while True:
        page = await store.index.page(limit=500)
        assert page.next_cursor is None, "fewer frames than a page holds"
        if all(record.state is not FrameState.QUEUED for record in page.records):
            return list(page.records)
        await asyncio.sleep(0.05)


async def test_store_that_was_emptied_is_told_as_a_gap(
    redis_url: str, toy_models: ToyModels, edge_settings: EdgeSettings
) -> None:
    client = redis_client(redis_url)
    recorder = EdgeRecorder()
    async with open_cloud(cloud_settings(toy_models, redis_url)) as cloud:
        settings = edge_settings.model_copy(update={"cloud_address": cloud.grpc_address})
        async with edge_running(settings, recorder):
            await recorder.wait_until(lambda: len(recorder.of(Detected)) >= 3)
            await client.flushall()
            told = {a.sequence for a in recorder.of(Acked) if a.stage is Stage.PERSISTED}
            await recorder.wait_until(lambda: bool(recorder.of(GapRecorded)))
            while not await cloud.store.gaps.list("gate", limit=10):
                await asyncio.sleep(0.05)
            gap, *others = await cloud.store.gaps.list("gate", limit=10)
    await client.aclose()

    assert others == []
    assert gap.reason == "store_lost"
    assert gap.dropped_frames >= len(told) >= 3
    assert gap.first_sequence <= min(told)
    assert gap.last_sequence >= max(told)


@pytest.mark.parametrize("victim", ["cloud", "redis"])
@pytest.mark.parametrize("keeps", [True, False])
async def test_a_frozen_cloud_leaves_no_picture_neither_kept_nor_told(
    victim: str, keeps: bool, toy_models: ToyModels, edge_settings: EdgeSettings, tmp_path: Path
) -> None:
    recorder = EdgeRecorder()
    with cloud_process(toy_models, tmp_path / "state.json") as cloud:
        settings = edge_settings.model_copy(
            update={
                "cloud_address": cloud.addresses["grpc"],
                "spool_folder": edge_settings.spool_folder if keeps else None,
                "answer_seconds": 600.0,
            }
        )
        pid = cloud.process.pid if victim == "cloud" else cloud.redis_pid()
        async with edge_running(settings, recorder):
            await recorder.wait_until(lambda: len(recorder.of(Detected)) >= 3)
            os.kill(pid, signal.SIGSTOP)
            try:
                told, count = (Spooled, OUTAGE_FRAMES) if keeps else (GapRecorded, 1)
                await recorder.wait_until(lambda: len(recorder.of(told)) >= count)
                still_up = recorder.of(LinkChanged)[-1].state is LinkState.UP
            finally:
                os.kill(pid, signal.SIGCONT)
            if keeps:
                await recorder.wait_until(lambda: len(recorder.of(Backfilled)) >= OUTAGE_FRAMES)
            thawed = len(recorder.of(Detected))
            await recorder.wait_until(lambda: len(recorder.of(Detected)) > thawed)

    assert still_up, "long before the stream is given up"
    assert recorder.of(Lost) == []
    assert {e.gap.reason for e in recorder.of(GapRecorded)} == (
        set() if keeps else {GapReason.LINK_DOWN}
    )
