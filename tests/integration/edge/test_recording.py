"""`slimwire process`: every frame of a recording is stored once, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from slimcloud.store.frames import Store
from slimcloud.store.records import FrameState, Lane, StoredFrame
from slimedge.app import run_edge
from slimedge.errors import StoppedError, UndeliveredError
from slimedge.event import Captured, Encoded, LinkChanged, LinkState, Lost, Replaced, Sent, Skipped
from slimedge.memory.bookmark import Bookmark
from slimedge.settings import EdgeSettings
from slimops.storage.redis_connection import redis_client
from slimwire.v1 import ingest_pb2 as pb
from support.cloud.cloud_process import cloud_process
from support.cloud.whole_cloud import ToyModels
from support.edge.edge_recorder import EdgeRecorder
from support.edge.fake_cloud import FakeCloud
from support.models.toy_artifact import make_image

HW = (48, 64)
FPS = 10
FRAMES = 90  # more than may be on their way
BEGIN_UNIX = 1_577_836_800  # 2020-01-01


@pytest.fixture(scope="module")
def toy_models(tmp_path_factory: pytest.TempPathFactory) -> ToyModels:
    return ToyModels(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "gate camera.mp4"
    with av.open(str(path), "w") as out:
        out.metadata["creation_time"] = "2020-01-01T00:00:00.000000Z"
        stream = out.add_stream("mpeg4", rate=FPS)
        stream.height, stream.width, stream.pix_fmt = (*HW, "yuv420p")
        for index in range(FRAMES):
            image = make_image(*HW, seed=index).astype(np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode(None))
    return path


def make_settings(models: ToyModels, video: Path, address: str) -> EdgeSettings:
    return EdgeSettings(
        cloud_address=address,
        source=str(video),
        model="toy",
        models_root=models.root,
        encoder_threads=1,
        deadline_seconds=0,
        expire_seconds=0,
        reconnect_min_seconds=0.02,
        reconnect_max_seconds=0.1,
    )


def process(models: ToyModels, video: Path, address: str, state: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "slimcli", "process", str(video), "--cloud", address],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "XDG_STATE_HOME": str(state),
            "EDGE_MODEL": "toy",
            "EDGE_MODELS_ROOT": str(models.root),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def place(state: Path, frames: int) -> None:
    """Wait until so many frames are behind the bookmark."""
    while True:
        for path in (state / "slimwire" / "process").glob("*[0-9a-f]"):
            if int(path.read_text()) >= frames:
                return
        await asyncio.sleep(0.01)


async def stored_frames(redis_url: str) -> list[StoredFrame]:
    """All stored frames, when each has its outcome."""
    client = redis_client(redis_url)
    try:
        while True:
            page = await Store(client).index.page(limit=500)
            if all(record.state is not FrameState.QUEUED for record in page.records):
                return list(page.records)
            await asyncio.sleep(0.05)
    finally:
        await client.aclose()


async def test_a_run_that_is_killed_goes_on_and_every_frame_is_stored_once(
    toy_models: ToyModels, video: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    with cloud_process(toy_models, tmp_path / "cloud.json") as cloud:
        address = cloud.addresses["grpc"]
        for frames, number, code in ((20, signal.SIGKILL, -9), (50, signal.SIGINT, 130)):
            running = process(toy_models, video, address, state)
            await place(state, frames)
            running.send_signal(number)
            _, said = await asyncio.to_thread(running.communicate)
            assert running.returncode == code, said
        last = process(toy_models, video, address, state)
        told, errors = await asyncio.to_thread(last.communicate)
        after = process(toy_models, video, address, state)
        nothing, _ = await asyncio.to_thread(after.communicate)
        frames_stored = await stored_frames(cloud.addresses["redis_url"])

    assert "error: stopped: " in said
    assert "started again, it goes on" in said
    assert last.returncode == 0, errors
    sent = int(told.split(" sent")[0].rpartition(" ")[2])
    assert 0 < sent <= FRAMES - 50, "what the cloud has is not sent again"
    assert after.returncode == 0
    assert nothing.count(f"goes on behind {FRAMES} frames") == 1
    assert nothing.endswith("0 captured, 0 sent, 0 detected\n")
    frames_stored.sort(key=lambda record: record.frame_id.sequence)
    assert [r.frame_id.sequence for r in frames_stored] == list(range(1, FRAMES + 1))
    assert len({r.frame_id.epoch for r in frames_stored}) == 1
    assert {r.frame_id.camera_id for r in frames_stored} == {"gate-camera"}
    assert {r.state for r in frames_stored} == {FrameState.DETECTED}
    assert {r.lane for r in frames_stored} == {Lane.BACKFILL}, "it raises no alert"
    for index, record in enumerate(frames_stored):
        assert record.captured_us == pytest.approx(1e6 * (BEGIN_UNIX + index / FPS), abs=2000)


async def test_a_cloud_that_is_away_or_full_is_waited_for(
    toy_models: ToyModels, video: Path, tmp_path: Path
) -> None:
    recorder = EdgeRecorder()
    async with FakeCloud(toy_models.artifact.fingerprint) as cloud:
        settings = make_settings(toy_models, video, cloud.address)
        full = pb.Nack(reason=pb.NACK_REASON_QUEUE_FULL, retryable=True, retry_after_ms=20)
        for sequence in (2, 3, FRAMES):
            cloud.nacks[sequence] = pb.Nack(sequence=sequence)
            cloud.nacks[sequence].MergeFrom(full)
        await cloud.stop()
        bookmark = Bookmark.open(tmp_path, settings, None)
        running = asyncio.create_task(run_edge(settings, recorder, recording=bookmark))
        await recorder.wait_until(
            lambda: any(e.state is LinkState.DOWN for e in recorder.of(LinkChanged))
        )
        await cloud.start()
        await recorder.wait_until(lambda: bookmark.frames >= 30)
        await cloud.stop()
        await asyncio.sleep(0.3)
        await cloud.start()
        totals = await running

    assert cloud.persisted == {bookmark.epoch: set(range(1, FRAMES + 1))}
    assert not recorder.of(Replaced) + recorder.of(Skipped)
    assert {event.reason for event in recorder.of(Lost)} <= {"no_result"}  # of the second outage
    assert f"{FRAMES} captured, {FRAMES} sent" in totals
    assert bookmark.is_whole
    assert {frame.lane for frame in cloud.frames} == {pb.LANE_BACKFILL}
    assert {(e.level, e.quality) for e in recorder.of(Encoded)} == {(3, 5.0)}, "of the most worth"


async def test_a_frame_that_the_cloud_refuses_ends_neither_the_run_nor_in_a_success(
    toy_models: ToyModels, video: Path, tmp_path: Path
) -> None:
    recorder = EdgeRecorder()
    async with FakeCloud(toy_models.artifact.fingerprint) as cloud:
        cloud.nacks = {5: pb.Nack(sequence=5, reason=pb.NACK_REASON_HEADER)}
        settings = make_settings(toy_models, video, cloud.address)
        bookmark = Bookmark.open(tmp_path, settings, None)

        with pytest.raises(UndeliveredError, match="89 detected; not detected: 1 refused"):
            await run_edge(settings, recorder, recording=bookmark)

    assert len(recorder.of(Sent)) == FRAMES
    assert bookmark.is_whole, "it would be refused again"


async def test_a_stop_without_a_cloud_says_what_the_first_picture_waited_for(
    toy_models: ToyModels, video: Path, tmp_path: Path
) -> None:
    recorder, stop = EdgeRecorder(), asyncio.Event()
    settings = make_settings(toy_models, video, "127.0.0.1:9")
    bookmark = Bookmark.open(tmp_path, settings, None)
    edge = run_edge(settings, recorder, recording=bookmark, stop=stop)
    running = asyncio.create_task(edge)
    await recorder.wait_until(
        lambda: any(e.state is LinkState.DOWN for e in recorder.of(LinkChanged))
    )
    await recorder.wait_until(lambda: bool(recorder.of(Captured)))

    stop.set()

    with pytest.raises(StoppedError, match=r"1 link_down; 127\.0\.0\.1:9 cannot be reached"):
        await running
    assert bookmark.frames == 0


async def test_no_more_is_on_its_way_than_a_reconnect_sends_again(
    toy_models: ToyModels, video: Path, tmp_path: Path
) -> None:
    recorder, stop = EdgeRecorder(), asyncio.Event()
    async with FakeCloud(toy_models.artifact.fingerprint) as cloud:
        cloud.last_stage = pb.STAGE_PERSISTED
        settings = make_settings(toy_models, video, cloud.address)
        bookmark = Bookmark.open(tmp_path, settings, None)
        edge = run_edge(settings, recorder, recording=bookmark, stop=stop)
        running = asyncio.create_task(edge)
        await recorder.wait_until(lambda: bookmark.frames >= 64)
        await asyncio.sleep(0.5)
        stop.set()
        with pytest.raises(StoppedError, match="started again, it goes on"):
            await running

    assert len(recorder.of(Sent)) == 64
    assert recorder.of(Lost) == []
