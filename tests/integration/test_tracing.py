"""One trace from a real edge's camera through ingest to the detector."""

from __future__ import annotations

import asyncio
from pathlib import Path

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from PIL import Image

from slimedge.app import run_edge
from slimedge.settings import EdgeSettings
from slimops.tracing import configure_tracing
from support.cloud.whole_cloud import ToyModels, cloud_settings, open_cloud
from support.models.toy_artifact import make_image


async def test_a_frames_spans_share_its_trace(redis_url: str, tmp_path: Path) -> None:
    models = ToyModels(tmp_path / "models")
    exporter = InMemorySpanExporter()
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(3):
        Image.fromarray(make_image(48, 64, seed=number)).save(pictures / f"{number}.png")
    stop = configure_tracing("slimwire-test", None, exporter)

    async with open_cloud(cloud_settings(models, redis_url)) as cloud:
        settings = EdgeSettings(
            cloud_address=cloud.grpc_address,
            source=str(pictures),
            picture_fps=10.0,
            model="toy",
            models_root=models.root,
            encoder_threads=1,
            deadline_seconds=0,
            expire_seconds=0,
        )
        await run_edge(settings)
    await asyncio.to_thread(stop)

    traces: dict[int, set[str]] = {}
    for span in exporter.get_finished_spans():
        traces.setdefault(span.context.trace_id, set()).add(span.name)
    assert traces
    assert {"capture", "encode", "ingest", "detect"} in traces.values()
