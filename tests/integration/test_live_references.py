"""A whole edge against a whole cloud, both real, whose frames need each other."""

from __future__ import annotations

import asyncio
from pathlib import Path

from slimedge.app import run_edge
from slimedge.event import Detected, Encoded, Nacked
from slimedge.settings import EdgeSettings
from support.cloud.whole_cloud import ToyModels, cloud_settings, open_cloud
from support.edge.edge_recorder import EdgeRecorder
from support.edge.moving_box import paint_scene

FRAMES = 40


async def test_frames_that_need_others_are_taken_and_detected(
    tmp_path: Path,
) -> None:
    models, pictures = ToyModels(tmp_path / "models", prior="context"), tmp_path / "pictures"
    paint_scene(pictures)
    recorder, stop = EdgeRecorder(), asyncio.Event()

    async with open_cloud(cloud_settings(models, None)) as cloud:
        settings = EdgeSettings(
            source=str(pictures),
            cloud_address=cloud.grpc_address,
            camera_id="cam-1",
            model="toy",
            models_root=models.root,
            loop=True,
            picture_fps=25.0,
            max_fps=25.0,
            encoder_threads=1,
        )
        edge = asyncio.create_task(run_edge(settings, recorder, stop=stop))
        await recorder.wait_until(lambda: len(recorder.of(Detected)) >= FRAMES)
        stop.set()
        await edge

    assert recorder.of(Nacked) == []
    kinds = {event.sequence: event.kind for event in recorder.of(Encoded)}
    detected = [kinds[event.sequence] for event in recorder.of(Detected)]
    assert detected[0] == "intra"
    assert set(detected[FRAMES // 2 :]) <= {"inter", "unchanged"}
