"""A whole edge with the toy codec against a cloud on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slimcodec.container import parse_container
from slimcodec.decode import Decoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.load import load_codec_artifact
from slimcontrol.controller import WaitReason
from slimedge.app import run_edge
from slimedge.errors import CameraError, ModelMismatchError, UndeliveredError
from slimedge.event import (
    Acked,
    Backfilled,
    CameraChanged,
    CameraState,
    Captured,
    Detected,
    Encoded,
    GapRecorded,
    LinkChanged,
    LinkState,
    Lost,
    Nacked,
    Refetched,
    RefetchRefused,
    Replaced,
    Sent,
    Skipped,
    SkipReason,
    SpoolChanged,
    Spooled,
    Stage,
)
from slimedge.gap import GapReason
from slimedge.link.connection import DisconnectedError, connect
from slimedge.settings import EdgeSettings
from slimwire.v1 import ingest_pb2 as pb
from support.edge.edge_recorder import EdgeRecorder
from support.edge.fake_cloud import FakeCloud
from support.models.toy_artifact import make_image, make_toy_codec

IMAGE_HW = (64, 96)
PICTURES = 5
LOST = 4  # sequence of the frame of which a message vanishes


@pytest.fixture
def codec(tmp_path: Path) -> CodecArtifact:
    return load_codec_artifact(make_toy_codec(tmp_path / "models"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(PICTURES):
        Image.fromarray(make_image(*IMAGE_HW, seed=index)).save(folder / f"{index:03d}.png")
    return folder


def make_settings(codec: CodecArtifact, source: Path, address: str, **more: object) -> EdgeSettings:
    values: dict[str, object] = {
        "cloud_address": address,
        "camera_id": "cam-1",
        "source": str(source),
        "model": "toy",
        "models_root": codec.directory.parent.parent,
        "picture_fps": 25.0,
        "max_fps": 25.0,
        "encoder_threads": 1,
        "reconnect_min_seconds": 0.02,
        "reconnect_max_seconds": 0.1,
    }
    return EdgeSettings.model_validate(values | more)


@asynccontextmanager
async def edge_running(
    settings: EdgeSettings, recorder: EdgeRecorder
) -> AsyncIterator[asyncio.Task[str]]:
    stop = asyncio.Event()
    task = asyncio.create_task(run_edge(settings, recorder, stop=stop))
    try:
        yield task
    finally:
        stop.set()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_folder_is_sent_until_it_ends_and_every_sent_frame_is_detected(
    codec: CodecArtifact, pictures: Path
) -> None:
    recorder = EdgeRecorder()
    async with FakeCloud(codec.fingerprint) as cloud:
        cloud.detections = [pb.Detection(x_max=9, y_max=7, score=0.5, class_id=2, label="car")]

        await run_edge(make_settings(codec, pictures, cloud.address), recorder)

    sent = recorder.of(Sent)
    assert len(recorder.of(Captured)) == PICTURES
    assert cloud.sequences == [event.sequence for event in sent] == list(range(1, len(sent) + 1))
    assert [event.sequence for event in recorder.of(Detected)] == cloud.sequences
    assert len(sent) == PICTURES  # none is replaced, however busy the machine
    assert not recorder.of(Replaced) + recorder.of(Skipped)
    assert recorder.of(Detected)[0].detections[0].label == "car"
    assert all(event.latency_seconds > 0 for event in recorder.of(Detected))
    assert {event.stage for event in recorder.of(Acked)} == set(Stage)
    assert {frame.traceparent for frame in cloud.frames} == {""}  # nobody collects
    assert recorder.of(CameraChanged)[-1].state is CameraState.ENDED
    assert recorder.of(LinkChanged)[-1].state is LinkState.STOPPED


async def test_a_source_that_ends_says_what_came_of_it(
    codec: CodecArtifact, pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (pictures / "000.png").write_bytes(b"no picture")
    async with FakeCloud(codec.fingerprint) as cloud:
        with (
            caplog.at_level("INFO"),
            pytest.raises(CameraError, match="1 pictures of the source were damaged"),
        ):
            await run_edge(make_settings(codec, pictures, cloud.address))

    assert "camera ended: 4 captured, 4 sent, 4 detected; not detected: 1 damaged" in caplog.text


async def test_a_source_of_which_nothing_arrives_is_no_success(
    codec: CodecArtifact, pictures: Path
) -> None:
    async with FakeCloud(codec.fingerprint) as cloud:
        cloud.nacks = {
            sequence: pb.Nack(sequence=sequence, reason=pb.NACK_REASON_HEADER)
            for sequence in range(1, PICTURES + 1)
        }

        with pytest.raises(UndeliveredError, match="0 detected; not detected: 5 refused"):
            await run_edge(make_settings(codec, pictures, cloud.address))


async def test_pictures_above_the_clouds_limit_are_scaled_down_and_told_once(
    codec: CodecArtifact, pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = EdgeRecorder()
    async with FakeCloud(codec.fingerprint, max_pixels=2000) as cloud:
        await run_edge(make_settings(codec, pictures, cloud.address), recorder)

    sizes = {event.image.shape[:2] for event in recorder.of(Encoded)}
    assert sizes <= {IMAGE_HW, (36, 54)}  # the first may be encoded before the cloud has said
    assert (36, 54) in sizes
    assert caplog.text.count("are scaled down to the 2000 pixels") == 1


async def test_a_proxy_is_not_used_on_loopback(
    codec: CodecArtifact, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with FakeCloud(codec.fingerprint) as cloud:
        await run_edge(make_settings(codec, pictures, cloud.address))

    assert len(cloud.frames) == PICTURES


async def test_a_proxy_is_used_beyond_loopback_and_named_where_it_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        for name in ("grpc_proxy", "https_proxy", "no_proxy", "NO_PROXY", "no_grpc_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        settings = EdgeSettings(
            source="a.mp4", cloud_address="cloud.invalid:50051", allow_plaintext=True
        )
        hello = pb.StreamFramesRequest(hello=pb.Hello(camera_id="gate"))
        with pytest.raises(DisconnectedError, match="cloud.invalid.*proxy that http_proxy names"):
            async with connect(settings, hello):
                pass

    assert asked[0].startswith(b"CONNECT cloud.invalid:50051 ")


async def test_what_arrives_decodes_to_the_picture_that_was_encoded(
    codec: CodecArtifact, pictures: Path
) -> None:
    recorder = EdgeRecorder()
    async with FakeCloud(codec.fingerprint) as cloud:
        settings = make_settings(codec, pictures, cloud.address, level=3, quality=5)
        await run_edge(settings, recorder)

    decoder = Decoder(codec, OpenVinoRuntime(1))
    encoded = recorder.of(Encoded)[0]
    decoded = decoder.decode_image(decoder.decode_latent(cloud.frames[0].container))
    assert (encoded.level, encoded.quality) == (3, 5)
    assert encoded.bitstream_bytes == len(cloud.frames[0].container)
    error = np.mean((decoded.astype(float) - encoded.image.astype(float)) ** 2)
    assert 10 * np.log10(255**2 / error) > 25


async def test_an_asked_enhancement_is_sent_and_improves_the_picture(
    codec: CodecArtifact, pictures: Path
) -> None:
    recorder = EdgeRecorder()
    async with FakeCloud(codec.fingerprint) as cloud:
        settings = make_settings(codec, pictures, cloud.address, loop=True, level=0, quality=3)
        async with edge_running(settings, recorder):
            await recorder.wait_until(lambda: bool(recorder.of(Detected)))
            cloud.tell(_refetch("r-1", 1))
            await recorder.wait_until(lambda: bool(recorder.of(Refetched)))
            await cloud.wait_until(lambda: bool(cloud.enhancements))

    decoder = Decoder(codec, OpenVinoRuntime(1))
    image = recorder.of(Encoded)[0].image.astype(float)
    base, enhancement = cloud.frames[0].container, cloud.enhancements[0].container
    before = decoder.decode_image(decoder.decode_latent(base))
    after = decoder.decode_image(decoder.decode_latent(base, enhancement))
    assert cloud.enhancements[0].request_id == "r-1"
    assert np.mean((after - image) ** 2) < 0.8 * np.mean((before - image) ** 2)


async def test_a_frame_that_has_left_the_ring_is_refused_with_the_reason(
    codec: CodecArtifact, pictures: Path
) -> None:
    recorder = EdgeRecorder()
    async with FakeCloud(codec.fingerprint) as cloud:
        settings = make_settings(codec, pictures, cloud.address, loop=True, ring_frames=1)
        async with edge_running(settings, recorder):
            await recorder.wait_until(lambda: len(recorder.of(Detected)) > 2)
            cloud.tell(_refetch("r-9", 1))
            await cloud.wait_until(lambda: bool(cloud.refusals))

    assert cloud.refusals[0].request_id == "r-9"
    assert "frame 1 has left" in cloud.refusals[0].detail
    assert recorder.of(RefetchRefused)[0].sequence == 1


async def test_a_cloud_that_triages_gets_the_narrowest_level_and_what_it_asks_for(
    codec: CodecArtifact, pictures: Path
) -> None:
    recorder = EdgeRecorder()
    async with FakeCloud(codec.fingerprint, max_live_level=0) as cloud:
        settings = make_settings(codec, pictures, cloud.address, loop=True)
        async with edge_running(settings, recorder):
            await recorder.wait_until(lambda: bool(recorder.of(Detected)))
            cloud.tell(_refetch("r-1", 1, level=2, expire_ms=60_000))
            await cloud.wait_until(lambda: bool(cloud.enhancements))

    assert {event.level for event in recorder.of(Encoded)} == {0}
    enhancement = parse_container(cloud.enhancements[0].container)
    assert (enhancement.first_group, enhancement.level) == (1, 2)


async def test_a_person_outranks_the_cloud_in_the_choice_of_the_level(
    codec: CodecArtifact, pictures: Path
) -> None:
    recorder = EdgeRecorder()
    async with FakeCloud(codec.fingerprint, max_live_level=0) as cloud:
        await run_edge(make_settings(codec, pictures, cloud.address, level=2), recorder)

    assert {event.level for event in recorder.of(Encoded)} == {2}


async def test_an_enhancement_that_nobody_waits_for_is_not_made(
    codec: CodecArtifact, pictures: Path
) -> None:
    recorder = EdgeRecorder()
    async with FakeCloud(codec.fingerprint) as cloud:
        settings = make_settings(codec, pictures, cloud.address, loop=True, level=0)
        async with edge_running(settings, recorder):
            await recorder.wait_until(lambda: bool(recorder.of(Detected)))
            for number in range(200):  # more than are made within a millisecond
                cloud.tell(_refetch(f"r-{number}", 1, expire_ms=1))
            await cloud.wait_until(lambda: bool(cloud.refusals))

    assert "nobody waits" in cloud.refusals[0].detail


async def test_max_edge_scales_pictures_down_before_they_are_encoded(
    codec: CodecArtifact, pictures: Path
) -> None:
    recorder = EdgeRecorder()
    async with FakeCloud(codec.fingerprint) as cloud:
        await run_edge(make_settings(codec, pictures, cloud.address, max_edge=48), recorder)

    assert {event.image.shape for event in recorder.of(Encoded)} == {(32, 48, 3)}


async def test_the_edge_outlives_a_restart_of_the_cloud(
    codec: CodecArtifact, pictures: Path
) -> None:
    recorder = EdgeRecorder()
    async with FakeCloud(codec.fingerprint) as cloud:
        settings = make_settings(codec, pictures, cloud.address, loop=True)
        async with edge_running(settings, recorder):
            await recorder.wait_until(lambda: len(recorder.of(Detected)) >= 2)
            await cloud.stop()
            await recorder.wait_until(lambda: recorder.of(LinkChanged)[-1].state is LinkState.DOWN)
            before = len(recorder.of(Detected))
            await cloud.start()
            await recorder.wait_until(lambda: len(recorder.of(Detected)) >= before + 2)

    epochs = {hello.epoch for hello in cloud.hellos}
    assert len(epochs) == 1
    assert set(cloud.sequences) == set(range(1, max(cloud.sequences) + 1))


async def test_an_outage_without_a_spool_is_a_gap(codec: CodecArtifact, pictures: Path) -> None:
    recorder = EdgeRecorder()
    async with FakeCloud(codec.fingerprint) as cloud:
        settings = make_settings(codec, pictures, cloud.address, loop=True)
        async with edge_running(settings, recorder):
            await recorder.wait_until(lambda: bool(recorder.of(Detected)))
            await cloud.stop()
            await asyncio.sleep(1.2)  # what lasts for less than a second is no gap
            await cloud.start()
            await cloud.wait_until(lambda: bool(cloud.gaps))

    gap = cloud.gaps[0]
    assert gap.reason == pb.GAP_REASON_LINK_DOWN
    assert gap.to_time_unix_us - gap.from_time_unix_us > 900_000
    down = [e for e in recorder.of(Skipped) if e.reason is SkipReason.LINK_DOWN]
    assert 0 < gap.dropped_frames <= len(down)


async def test_an_outage_with_a_spool_loses_nothing_and_is_no_gap(
    codec: CodecArtifact, pictures: Path, tmp_path: Path
) -> None:
    recorder = EdgeRecorder()
    async with FakeCloud(codec.fingerprint) as cloud:
        fast = {"picture_fps": 60.0, "max_fps": 60.0, "spool_fps": 60.0}
        settings = make_settings(
            codec, pictures, cloud.address, loop=True, spool_folder=tmp_path / "s", **fast
        )
        async with edge_running(settings, recorder):
            await recorder.wait_until(lambda: bool(recorder.of(Detected)))
            await cloud.stop()
            await recorder.wait_until(lambda: len(recorder.of(Spooled)) >= 70)  # of 64 in memory
            await cloud.start()
            kept = {event.sequence for event in recorder.of(Spooled)}
            await cloud.wait_until(lambda: kept <= set(cloud.sequences))

    assert recorder.of(Lost) == []
    assert cloud.gaps == []
    assert set(range(1, max(kept) + 1)) <= set(cloud.sequences)


async def test_a_spool_that_cannot_be_made_leaves_live_frames_alone(
    codec: CodecArtifact, pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = EdgeRecorder()
    (tmp_path / "file").write_text("in the way")
    async with FakeCloud(codec.fingerprint) as cloud:
        settings = make_settings(
            codec, pictures, cloud.address, loop=True, spool_folder=tmp_path / "file" / "spool"
        )
        async with edge_running(settings, recorder):
            await recorder.wait_until(lambda: len(recorder.of(Detected)) >= 3)

    assert [event.is_up for event in recorder.of(SpoolChanged)] == [False]
    assert [r.message for r in caplog.records].count("no spool: frames of an outage are lost") == 1


async def test_a_full_cloud_is_left_in_peace_for_a_moment_and_then_served_again(
    codec: CodecArtifact, pictures: Path
) -> None:
    recorder = EdgeRecorder()
    async with FakeCloud(codec.fingerprint) as cloud:
        cloud.nacks = {1: pb.Nack(sequence=1, reason=pb.NACK_REASON_QUEUE_FULL, retryable=True)}
        settings = make_settings(codec, pictures, cloud.address, loop=True)
        async with edge_running(settings, recorder):
            await recorder.wait_until(
                lambda: WaitReason.CLOUD_FULL in {event.reason for event in recorder.of(Skipped)}
            )
            before = len(recorder.of(Detected))
            await recorder.wait_until(lambda: len(recorder.of(Detected)) > before)

    assert recorder.of(Nacked)[0].reason == "queue_full"
    assert cloud.sequences.count(1) == 1


async def test_another_model_at_the_cloud_ends_the_edge_with_both_fingerprints(
    codec: CodecArtifact, pictures: Path
) -> None:
    async with FakeCloud(b"\x00" * 8) as cloud:
        with pytest.raises(ModelMismatchError, match=codec.fingerprint.hex()) as caught:
            await run_edge(make_settings(codec, pictures, cloud.address, loop=True))

    assert "0000000000000000" in str(caught.value)


async def test_a_source_that_is_not_there_is_named(codec: CodecArtifact, tmp_path: Path) -> None:
    settings = make_settings(codec, tmp_path / "no.mp4", "127.0.0.1:1")

    with pytest.raises(CameraError, match=r"no\.mp4"):
        await run_edge(settings)


async def test_a_stop_ends_the_edge_although_the_cloud_is_away(
    codec: CodecArtifact, pictures: Path
) -> None:
    recorder = EdgeRecorder()
    stop = asyncio.Event()
    settings = make_settings(codec, pictures, "127.0.0.1:1", loop=True)
    running = asyncio.create_task(run_edge(settings, recorder, stop=stop))
    await recorder.wait_until(lambda: bool(recorder.of(Skipped)))

    stop.set()
    await running

    assert recorder.of(LinkChanged)[-1].state is LinkState.STOPPED


def _refetch(
    request_id: str, sequence: int, *, level: int = 0, expire_ms: int = 0
) -> pb.StreamFramesResponse:
    asked = pb.RefetchEnhancement(sequence=sequence, level=level, expire_ms=expire_ms)
    return pb.StreamFramesResponse(
        command=pb.Command(request_id=request_id, refetch_enhancement=asked)
    )


@pytest.mark.parametrize("lost", ["lost_frames", "lost_acks"])
async def test_a_lost_message_mutes_a_camera_only_until_its_answer_is_overdue(
    lost: str, codec: CodecArtifact, pictures: Path, tmp_path: Path
) -> None:
    recorder = EdgeRecorder()
    async with FakeCloud(codec.fingerprint) as cloud:
        getattr(cloud, lost).add(LOST)
        settings = make_settings(
            codec, pictures, cloud.address, loop=True, answer_seconds=0.5, spool_folder=tmp_path
        )
        async with edge_running(settings, recorder):
            await recorder.wait_until(
                lambda: (
                    any(event.sequence > LOST + 5 for event in recorder.of(Detected))
                    and any(LOST in stored for stored in cloud.persisted.values())
                )
            )

    reasons = [e.detail for e in recorder.of(LinkChanged) if e.state is LinkState.DOWN]
    assert reasons  # more than one where the machine itself is slow to answer
    assert all("no answer to what was sent" in reason for reason in reasons)
    assert recorder.of(Lost) == []


async def test_a_window_that_stays_closed_is_told_as_a_gap_where_nothing_is_kept(
    codec: CodecArtifact, pictures: Path
) -> None:
    recorder = EdgeRecorder()
    async with FakeCloud(codec.fingerprint) as cloud:
        settings = make_settings(codec, pictures, cloud.address, loop=True)
        async with edge_running(settings, recorder):
            await recorder.wait_until(lambda: len(recorder.of(Detected)) >= 3)
            cloud.tell(pb.StreamFramesResponse(credit=pb.Credit(credit_bytes=0)))
            await recorder.wait_until(lambda: recorder.of(GapRecorded) != [])
            before = len(recorder.of(Detected))
            cloud.tell(pb.StreamFramesResponse(credit=pb.Credit(credit_bytes=2**18)))
            await recorder.wait_until(lambda: len(recorder.of(Detected)) > before)
            await cloud.wait_until(lambda: cloud.gaps != [])

    assert {event.gap.reason for event in recorder.of(GapRecorded)} == {GapReason.REFUSED}
    assert {event.state for event in recorder.of(LinkChanged)}.isdisjoint({LinkState.DOWN})


async def test_a_picture_that_waited_has_both_times_of_one_moment(
    codec: CodecArtifact, pictures: Path
) -> None:
    recorder = EdgeRecorder()
    async with FakeCloud(codec.fingerprint, credit_bytes=0) as cloud:
        run = asyncio.create_task(run_edge(make_settings(codec, pictures, cloud.address), recorder))
        await recorder.wait_until(lambda: len(recorder.of(Captured)) >= 1)
        await asyncio.sleep(0.5)
        cloud.credit_bytes = 2**18
        cloud.tell(pb.StreamFramesResponse(credit=pb.Credit(credit_bytes=2**18)))
        await run

    apart = [frame.capture_time_unix_us - frame.capture_time_mono_us for frame in cloud.frames]
    assert len(apart) == PICTURES
    assert max(apart) - min(apart) < 200_000


async def test_a_detector_that_is_stuck_is_told_as_a_gap_where_nothing_is_kept(
    codec: CodecArtifact, pictures: Path
) -> None:
    recorder = EdgeRecorder()
    async with FakeCloud(codec.fingerprint) as cloud:
        cloud.last_stage = pb.STAGE_PERSISTED
        settings = make_settings(codec, pictures, cloud.address, loop=True)
        async with edge_running(settings, recorder):
            await recorder.wait_until(lambda: recorder.of(GapRecorded) != [])

    assert {event.gap.reason for event in recorder.of(GapRecorded)} == {GapReason.REFUSED}


async def test_pictures_between_an_outage_and_the_first_result_after_it_are_kept(
    codec: CodecArtifact, pictures: Path, tmp_path: Path
) -> None:
    recorder = EdgeRecorder()
    async with FakeCloud(codec.fingerprint) as cloud:
        cloud.last_stage = pb.STAGE_PERSISTED
        settings = make_settings(
            codec, pictures, cloud.address, loop=True, spool_folder=tmp_path, spool_fps=25.0
        )
        cloud.hold()
        async with edge_running(settings, recorder):
            await recorder.wait_until(lambda: len(recorder.of(Spooled)) >= 5)
            cloud.release()
            await recorder.wait_until(lambda: len(recorder.of(Backfilled)) >= 1)
            began, kept = len(recorder.events), len(recorder.of(Spooled))
            await recorder.wait_until(lambda: len(recorder.of(Spooled)) >= kept + 5)
            ended = len(recorder.events)
            cloud.last_stage = pb.STAGE_DETECTED
            await recorder.wait_until(lambda: recorder.of(Detected) != [])

    between = recorder.events[began:ended]
    assert WaitReason.INFEASIBLE not in {e.reason for e in between if isinstance(e, Skipped)}


async def test_a_window_that_stays_closed_fills_the_spool_until_it_opens(
    codec: CodecArtifact, pictures: Path, tmp_path: Path
) -> None:
    recorder = EdgeRecorder()
    async with FakeCloud(codec.fingerprint) as cloud:
        settings = make_settings(
            codec, pictures, cloud.address, loop=True, spool_folder=tmp_path, spool_fps=25.0
        )
        async with edge_running(settings, recorder):
            await recorder.wait_until(lambda: len(recorder.of(Detected)) >= 3)
            cloud.tell(pb.StreamFramesResponse(credit=pb.Credit(credit_bytes=0)))
            await recorder.wait_until(lambda: len(recorder.of(Spooled)) >= 5)
            cloud.tell(pb.StreamFramesResponse(credit=pb.Credit(credit_bytes=2**18)))
            await recorder.wait_until(lambda: len(recorder.of(Backfilled)) >= 5)

    assert recorder.of(Lost) == []
    assert recorder.of(GapRecorded) == []
