"""A real edge and a real cloud: quiet pictures cost their base alone, the others are enhanced."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from slimcloud.store.records import FrameState, Triage
from slimcodec.container import parse_container
from slimedge.app import run_edge
from slimedge.event import Detected, Encoded, Refetched
from slimedge.settings import EdgeSettings
from slimops.storage.redis_connection import redis_client
from support.cloud.whole_cloud import ToyModels, cloud_settings, open_cloud
from support.edge.edge_recorder import EdgeRecorder
from support.models.toy_artifact import make_image
from support.models.toy_triage import add_toy_triage, grey_image

HW = (64, 96)
IS_BUSY = (False, True, False, False, True, False)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, is_busy in enumerate(IS_BUSY):
        image = make_image(*HW, seed=index) if is_busy else grey_image(*HW)
        Image.fromarray(image).save(folder / f"{index}.png")
    return folder


async def test_only_what_is_not_quiet_is_enhanced(
    redis_url: str, tmp_path: Path, pictures: Path
) -> None:
    client = redis_client(redis_url)
    await client.flushall()
    await client.aclose()
    models = ToyModels(tmp_path / "models")
    add_toy_triage(models.root / "toy" / "1")
    settings = cloud_settings(
        models, redis_url, triage="enhance", triage_level=2, triage_wait_seconds=60.0
    )
    recorder = EdgeRecorder()
    async with open_cloud(settings) as cloud:
        edge = EdgeSettings(
            cloud_address=cloud.grpc_address,
            source=str(pictures),
            picture_fps=2.0,
            model="toy",
            models_root=models.root,
            encoder_threads=1,
            deadline_seconds=0,
            expire_seconds=0,
            drain_seconds=30.0,
        )
        await run_edge(edge, recorder)

        records = (await cloud.store.index.page()).frames
        enhancements = [
            await cloud.store.get_enhancement(record.frame_id)
            for record in records
            if record.triage is Triage.ENHANCED
        ]

    assert records
    assert len(records) == len(recorder.of(Encoded)) == len(recorder.of(Detected))
    assert {record.state for record in records} == {FrameState.DETECTED}
    assert {event.level for event in recorder.of(Encoded)} == {0}
    quiet = {event.sequence for event in recorder.of(Encoded) if event.image.std() == 0}
    assert 0 < len(quiet) < len(records)
    by_triage = {record.frame_id.sequence: record.triage for record in records}
    assert {sequence for sequence, triage in by_triage.items() if triage is Triage.QUIET} == quiet
    assert {triage for n, triage in by_triage.items() if n not in quiet} == {Triage.ENHANCED}
    assert {event.sequence for event in recorder.of(Refetched)} == by_triage.keys() - quiet
    assert {parse_container(data or b"").level for data in enhancements} == {2}
