"""A real edge and a real cloud: quiet pictures cost their base alone, the others are enhanced."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from PIL import Image

from slimcloud.store.records import FrameState, Triage
from slimcodec.container import parse_container
from slimedge.app import run_edge
from slimedge.event import Detected, Encoded, Refetched
from slimedge.settings import EdgeSettings
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
    models = ToyModels(tmp_path / "models")
    add_toy_triage(models.root / "toy" / "1")
    settings = cloud_settings(
        models, redis_url, triage="enhance", triage_level=2, triage_wait_seconds=60.0
    )
    recorder, stop = EdgeRecorder(), asyncio.Event()

    def quiet_of_answered() -> dict[int, bool]:
        """Of each frame, when all have their results: whether it is quiet."""
        encoded = recorder.of(Encoded)
        if len(encoded) != len(recorder.of(Detected)):
            return {}
        return {event.sequence: event.image.std() == 0 for event in encoded}

    async with open_cloud(settings) as cloud:
        edge = EdgeSettings(
            cloud_address=cloud.grpc_address,
            source=str(pictures),
            loop=True,
            picture_fps=2.0,
            model="toy",
            models_root=models.root,
            encoder_threads=1,
            deadline_seconds=0,
            expire_seconds=0,
        )
        running = asyncio.create_task(run_edge(edge, recorder, stop=stop))
        await recorder.wait_until(lambda: {*quiet_of_answered().values()} == {True, False})
        is_quiet = quiet_of_answered()
        stop.set()
        await running  # a frame that was under way then has an answer or not

        page = await cloud.store.index.page()
        records = [frame for frame in page.records if frame.frame_id.sequence in is_quiet]
        enhancements = [
            await cloud.store.get_enhancement(record.frame_id)
            for record in records
            if record.triage is Triage.ENHANCED
        ]

    assert len(records) == len(is_quiet)
    assert {record.state for record in records} == {FrameState.DETECTED}
    assert {event.level for event in recorder.of(Encoded)} == {0}
    by_triage = {record.frame_id.sequence: record.triage for record in records}
    assert by_triage == {
        sequence: Triage.QUIET if quiet else Triage.ENHANCED for sequence, quiet in is_quiet.items()
    }
    refetched = {event.sequence for event in recorder.of(Refetched)}
    assert refetched & is_quiet.keys() == {n for n, quiet in is_quiet.items() if not quiet}
    assert {parse_container(data or b"").level for data in enhancements} == {2}
