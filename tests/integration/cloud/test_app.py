"""Whole cloud processes: what they start, what they leave behind, and what survives a kill."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import google_crc32c
import grpc
import httpx
import pytest

from slimcloud.frame_id import FrameId
from slimcloud.settings import CloudSettings
from slimcloud.store import keys
from slimcloud.store.frames import Store
from slimcloud.store.records import FrameState
from slimcloud.store.retention import FRAME_BYTES
from slimops.errors import SettingsError
from slimops.settings import load_settings
from slimops.storage.redis_connection import redis_client
from slimwire.v1 import ingest_pb2 as pb
from support.cloud.cloud_process import cloud_process
from support.cloud.whole_cloud import EPOCH, ToyCamera, ToyModels, cloud_settings, open_cloud


@pytest.fixture(scope="session")
def toy_models(tmp_path_factory: pytest.TempPathFactory) -> ToyModels:
    return ToyModels(tmp_path_factory.mktemp("models"))


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_process_with_its_own_redis_serves_cameras_and_reviewers(
    toy_models: ToyModels, tmp_path: Path
) -> None:
    with cloud_process(toy_models, tmp_path / "state.json", metrics_port=0) as cloud:
        async with ToyCamera(cloud.addresses["grpc"], toy_models) as camera:
            await camera.hello()
            await camera.send(1)
            await camera.hear_stage(1, pb.STAGE_DETECTED)
        async with httpx.AsyncClient(base_url=cloud.addresses["http"]) as http:
            ready = await http.get("/readyz")
            listed = await http.get("/api/v1/frames")
            frame_id = f"gate:{EPOCH:016x}:1"
            image = await http.get(
                f"/api/v1/frames/{frame_id}/image", headers={"accept": "image/png"}
            )
            metrics = (await http.get(cloud.addresses["metrics"])).text

    assert ready.status_code == 200
    assert frame_id in listed.text
    assert image.content.startswith(b"\x89PNG")
    assert 'slim_cloud_frames_total{width_level="0"} 1.0' in metrics
    assert 'slim_cloud_frames_detected_total{width_level="0"} 1.0' in metrics
    assert "slim_cloud_queue_seconds_count 1.0" in metrics


async def test_camera_of_a_living_process_stays_connected(
    redis_url: str, toy_models: ToyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slimcloud.app.LEASE_SECONDS", 0.1)
    settings = cloud_settings(toy_models, redis_url, role="ingest")
    async with open_cloud(settings) as cloud, ToyCamera(cloud.grpc_address, toy_models) as camera:
        await camera.hello("leased")
        client = redis_client(redis_url)
        for lease in await client.keys(f"{keys.INGEST}*"):
            await client.delete(lease)
        while not await client.keys(f"{keys.INGEST}*"):  # until it is renewed
            await asyncio.sleep(0)
        await client.aclose()

        (state,) = await cloud.store.cameras.list()
        assert state.connected


async def test_codec_with_a_context_prior_is_served(redis_url: str, tmp_path: Path) -> None:
    models = ToyModels(tmp_path, prior="context")
    settings = cloud_settings(models, redis_url)
    async with open_cloud(settings) as cloud, ToyCamera(cloud.grpc_address, models) as camera:
        await camera.hello("gate")
        base = await camera.send(1)
        await camera.hear_stage(1, pb.STAGE_DETECTED)
        rest = models.enhance(1, base)
        await camera.say(
            enhancement=pb.Enhancement(
                sequence=1, container=rest, container_crc32c=google_crc32c.value(rest)
            )
        )
        await camera.hear_stage(1, pb.STAGE_PERSISTED)
        async with httpx.AsyncClient(base_url=cloud.addresses.http or "") as http:
            image = await http.get(
                f"/api/v1/frames/gate:{EPOCH:016x}:1/image", headers={"accept": "image/png"}
            )

    assert image.content.startswith(b"\x89PNG")


def test_terminated_process_ends_well_and_leaves_nothing(
    toy_models: ToyModels, tmp_path: Path
) -> None:
    with cloud_process(toy_models, tmp_path / "state.json") as cloud:
        redis_pid = cloud.redis_pid()
        redis_directory = Path(cloud.addresses["redis_url"].removeprefix("unix://")).parent

        cloud.process.terminate()

        assert cloud.process.wait() == 0
    assert not _is_running(redis_pid)
    assert not redis_directory.exists()
    assert not (tmp_path / "state.json").exists()


def test_killed_process_leaves_no_process_behind(toy_models: ToyModels, tmp_path: Path) -> None:
    with cloud_process(toy_models, tmp_path / "state.json") as cloud:
        redis_pid = cloud.redis_pid()
        cloud.process.kill()
        cloud.process.wait()

    while _is_running(redis_pid):  # the test's own time limit is the deadline
        os.sched_yield()


async def test_roles_in_separate_processes_work_together(
    redis_url: str, toy_models: ToyModels, tmp_path: Path
) -> None:
    ingest = cloud_settings(toy_models, redis_url, role="ingest")
    detect = cloud_settings(toy_models, redis_url, role="detect")
    async with (
        open_cloud(ingest) as cloud,
        open_cloud(detect) as worker,
        ToyCamera(cloud.grpc_address, toy_models) as camera,
    ):
        assert worker.addresses.grpc is None
        assert cloud.addresses.http is None

        await camera.hello()
        await camera.send(1)

        ack = await camera.hear_stage(1, pb.STAGE_DETECTED)
        assert ack.compute_us > 0


async def test_newer_connection_ends_the_older_across_processes(
    redis_url: str, toy_models: ToyModels
) -> None:
    settings = cloud_settings(toy_models, redis_url, role="ingest")
    async with (
        open_cloud(settings) as first,
        open_cloud(settings) as second,
        ToyCamera(first.grpc_address, toy_models) as older,
        ToyCamera(second.grpc_address, toy_models) as newer,
    ):
        await older.hello()
        await newer.hello()

        assert (await older.ended()).status is grpc.StatusCode.ABORTED

        await newer.send(1)
        await newer.hear_stage(1, pb.STAGE_PERSISTED)


async def test_frames_survive_the_kill_of_a_detect_worker(
    redis_url: str, toy_models: ToyModels, tmp_path: Path
) -> None:
    """A worker that is stopped in mid-work and killed: another takes over what it held."""
    client = redis_client(redis_url)
    store = Store(client)
    ingest = cloud_settings(toy_models, redis_url, role="ingest")
    async with open_cloud(ingest) as cloud, ToyCamera(cloud.grpc_address, toy_models) as camera:
        with cloud_process(
            toy_models, tmp_path / "state.json", role="detect", redis_url=redis_url
        ) as worker:
            worker.process.send_signal(signal.SIGSTOP)
            await camera.hello()
            for sequence in range(1, 9):
                await camera.send(sequence)
            await camera.hear_stage(8, pb.STAGE_PERSISTED)
            worker.process.send_signal(signal.SIGCONT)
            while await store.work.outstanding() == 8:
                await asyncio.sleep(0)
            worker.process.kill()
            worker.process.wait()

        detect = cloud_settings(toy_models, redis_url, role="detect")
        async with open_cloud(detect):
            records = [
                await store.get_frame(FrameId("gate", EPOCH, sequence)) for sequence in range(1, 9)
            ]
            while any(record.state is FrameState.QUEUED for record in records):
                await asyncio.sleep(0.01)
                records = [await store.get_frame(record.frame_id) for record in records]

    assert {record.state for record in records} == {FrameState.DETECTED}
    assert (await store.totals()).detected == 8
    assert await store.work.dead_letters() == []
    await client.aclose()


async def test_retention_keeps_the_store_within_its_budget(
    redis_url: str, toy_models: ToyModels
) -> None:
    budget = 2**20
    settings = cloud_settings(
        toy_models, redis_url, role="ingest", max_stored_bytes=budget, max_queue_size=1000
    )
    async with open_cloud(settings) as cloud, ToyCamera(cloud.grpc_address, toy_models) as camera:
        await camera.hello()
        container = toy_models.encode(1, level=3, hw=(256, 256))
        needed = 2 * budget // len(container)
        for sequence in range(1, needed + 1):
            await camera.send(sequence, container)
            await camera.hear_stage(sequence, pb.STAGE_PERSISTED)
        while True:
            totals = await cloud.store.totals()
            if totals.stored_bytes + FRAME_BYTES * (needed - totals.removed) <= budget:
                break
            await asyncio.sleep(0.01)

    assert totals.removed > 0
    assert totals.stored_bytes == (needed - totals.removed) * len(container)


async def test_stop_waits_until_the_store_knows_that_the_cameras_are_gone(
    redis_url: str, toy_models: ToyModels
) -> None:
    client = redis_client(redis_url)
    settings = cloud_settings(toy_models, redis_url, role="ingest", stop_seconds=0)
    async with AsyncExitStack() as stack:
        async with open_cloud(settings) as cloud:
            camera = await stack.enter_async_context(ToyCamera(cloud.grpc_address, toy_models))
            await camera.hello()
            await client.client_pause(300)  # a slow Redis: milliseconds until it answers anyone

        state = await Store(client).cameras.get("gate")

    assert state is not None
    assert not state.connected
    assert len(await client.client_list()) == 1
    await client.aclose()


async def test_port_that_is_taken_stops_the_start_with_its_name(
    redis_url: str, toy_models: ToyModels
) -> None:
    async with open_cloud(cloud_settings(toy_models, redis_url)) as cloud:
        taken = int(cloud.grpc_address.rpartition(":")[2])

        with pytest.raises(OSError, match=f"{taken}"):
            async with open_cloud(cloud_settings(toy_models, redis_url, grpc_port=taken)):
                pass


def test_role_alone_needs_a_redis_of_its_own() -> None:
    with pytest.raises(SettingsError, match=r"^role detect needs the Redis of the others"):
        load_settings(CloudSettings, {"role": "detect"}, environ={})


def test_more_frames_than_redis_holds_are_refused_at_the_start() -> None:
    with pytest.raises(SettingsError, match="max_stored_bytes"):
        load_settings(CloudSettings, {"max_stored_bytes": 2**29}, environ={})
