"""A Node.js client, written from docs/develop/protocol.md alone, streams to a real cloud."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from slimcloud.frame_id import FrameId
from slimcloud.store.cameras.budgets import BudgetState
from slimcontrol.budget import Budget
from support.cloud.scene import Scene
from support.cloud.whole_cloud import RunningCloud, ToyModels, cloud_settings, open_cloud

CLIENT = Path(__file__).with_name("node_client")
FRAMES = 8
CREDIT_BYTES = 1024  # one container of such a picture: the break finds the last frames unsent
IMAGE_HW = (192, 256)

if shutil.which("node") is None:
    pytest.skip("no node on this machine", allow_module_level=True)
if not (CLIENT / "node_modules" / "@grpc" / "grpc-js").exists():
    pytest.skip("no modules for Node.js: run `npm ci` in node_client", allow_module_level=True)


async def stream(address: str, containers: Path, *arguments: str) -> list[dict[str, Any]]:
    """Run the client to its end; what it printed."""
    client = await asyncio.create_subprocess_exec(
        "node",
        str(CLIENT / "camera.js"),
        f"--address={address}",
        f"--containers={containers}",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(client.communicate(), 60)
    finally:
        if client.returncode is None:
            client.kill()
            await client.wait()
    assert err == b"", err.decode()
    return [json.loads(line) for line in out.splitlines()]


async def check_stored(cloud: RunningCloud, containers: Path, epoch: int) -> None:
    """Every container is in the store as it was, and detected."""
    for sequence, path in enumerate(sorted(containers.iterdir()), start=1):
        frame_id = FrameId("node", epoch, sequence)
        assert await cloud.store.get_container(frame_id) == path.read_bytes()


async def test_client_of_the_document_streams_resumes_and_tells_its_gap(
    redis_url: str, tmp_path: Path
) -> None:
    models = ToyModels(tmp_path / "models")
    containers = tmp_path / "containers"
    containers.mkdir()
    for sequence in range(1, FRAMES + 1):
        (containers / f"{sequence:04d}.slw").write_bytes(models.encode(sequence, hw=IMAGE_HW))

    async with open_cloud(cloud_settings(models, redis_url, credit_bytes=CREDIT_BYTES)) as cloud:
        request_id = await cloud.store.budgets.want("node", Budget(1_000_000, 3600))
        said = await stream(cloud.grpc_address, containers, "--damage=2", "--break-after=4")
        totals = await cloud.store.totals()
        (gap,) = await cloud.store.gaps.list("node")
        await check_stored(cloud, containers, gap.epoch)
        budget = await cloud.store.budgets.get("node")

    def heard(event: str) -> list[dict[str, Any]]:
        return [line for line in said if line["event"] == event]

    # every frame is stored once and detected, though one came damaged and the stream broke
    assert (totals.frames, totals.detected) == (FRAMES, FRAMES)
    (nack,) = heard("nack")
    assert (nack["sequence"], nack["reason"], nack["retryable"]) == ("2", "NACK_REASON_CRC", True)
    stages = {(ack["sequence"], ack["stage"]) for ack in heard("ack")}
    assert ("1", "STAGE_PERSISTED") in stages
    assert ("8", "STAGE_DETECTED") in stages
    assert any(ack["detections"] for ack in heard("ack"))

    # the second stream goes on after what the first one brought
    first, second = heard("welcome")
    assert first["resume_after_sequence"] == "0"
    assert int(second["resume_after_sequence"]) >= 4
    assert set(second["persisted_sequences"]) <= set(heard("hello")[1]["unpersisted_sequences"])

    assert (gap.reason, gap.detail) == ("stopped", "the folder is at its end")
    assert heard("gap_ack") == [
        {"event": "gap_ack", "gap_number": "1", "refused": "", "epoch": "0"}
    ]
    assert {command["request_id"] for command in heard("command")} == {request_id}
    assert budget.state is BudgetState.ACCEPTED
    assert said[-1] == {"event": "end", "code": "OK", "details": ""}


async def test_a_client_of_the_first_minor_is_served_as_before(
    redis_url: str, tmp_path: Path
) -> None:
    models = ToyModels(tmp_path / "models")
    containers = tmp_path / "containers"
    containers.mkdir()
    for sequence in range(1, FRAMES + 1):
        (containers / f"{sequence:04d}.slw").write_bytes(models.encode(sequence))

    async with open_cloud(cloud_settings(models, redis_url)) as cloud:
        said = await stream(cloud.grpc_address, containers, "--minor=1")
        totals = await cloud.store.totals()

    assert (totals.frames, totals.detected) == (FRAMES, FRAMES)
    assert said[-1] == {"event": "end", "code": "OK", "details": ""}


async def test_a_client_without_the_codec_sends_frames_that_need_others(
    redis_url: str, tmp_path: Path
) -> None:
    models = ToyModels(tmp_path / "models", prior="context")
    scene, containers = Scene(models), tmp_path / "containers"
    containers.mkdir()
    for sequence in range(1, FRAMES + 1):
        reference = 0 if sequence == 1 else (sequence - 1 & sequence - 2) + 1
        needs = f".needs-{reference:04d}" if reference else ""
        path = containers / f"{sequence:04d}{needs}.slw"
        path.write_bytes(scene.encode(sequence, reference))

    async with open_cloud(cloud_settings(models, redis_url)) as cloud:
        said = await stream(cloud.grpc_address, containers, "--damage=3", "--break-after=4")
        while (await cloud.store.totals()).detected < FRAMES:  # some were told PERSISTED only
            await asyncio.sleep(0.02)
        (gap,) = await cloud.store.gaps.list("node")
        frames = [
            await cloud.store.get_frame(FrameId("node", gap.epoch, n + 1)) for n in range(FRAMES)
        ]

    assert [frame.depth for frame in frames] == [0, 1, 1, 2, 1, 2, 2, 3]
    assert [line["reason"] for line in said if line["event"] == "nack"] == ["NACK_REASON_CRC"]
    assert said[-1] == {"event": "end", "code": "OK", "details": ""}


async def test_client_of_another_model_gives_up_with_the_reason(
    redis_url: str, tmp_path: Path
) -> None:
    models = ToyModels(tmp_path / "models")
    foreign = bytearray(models.encode(1))
    foreign[6:14] = bytes(8)
    containers = tmp_path / "containers"
    containers.mkdir()
    (containers / "1.slw").write_bytes(foreign)

    async with open_cloud(cloud_settings(models, redis_url, role="ingest")) as cloud:
        said = await stream(cloud.grpc_address, containers)

    assert said[-1]["event"] == "end"
    assert said[-1]["code"] == "FAILED_PRECONDITION"
    assert models.artifact.fingerprint.hex() in said[-1]["details"]
