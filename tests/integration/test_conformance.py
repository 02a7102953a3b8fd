"""The conformance kit of the wire: against our ingest, our edge and the Node client."""

from __future__ import annotations

import asyncio
import base64
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from redis.asyncio import Redis

from conformance.play_client import UnexpectedError, play_client
from conformance.play_cloud import TranscriptCloud
from conformance.rules import Rules
from conformance.transcript import Fields, Transcript, transcripts
from slimcloud.frame_id import FrameId
from slimcloud.roles import Role
from slimcloud.settings import CloudSettings
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.load import load_codec_artifact
from slimcontrol.budget import Budget
from slimedge.app import run_edge
from slimedge.settings import EdgeSettings
from slimwire.v1 import ingest_pb2 as pb
from support.cloud.frames import make_result
from support.cloud.whole_cloud import open_cloud
from support.conformance import KIT, read_lines
from support.edge.moving_box import paint_scene
from support.models.golden import golden_models
from support.models.toy_artifact import make_toy_codec

NODE_CLIENT = Path(__file__).with_name("node_client")
VECTORS = read_lines((KIT / "vectors.jsonl").read_text())
MORE_FRAMES = 12  # that a camera sends after a transcript was played

for_ingest = pytest.mark.parametrize(
    "transcript", transcripts("client"), ids=lambda transcript: transcript.name
)
for_cameras = pytest.mark.parametrize(
    "transcript", transcripts("cloud"), ids=lambda transcript: transcript.name
)


def golden(name: str) -> bytes:
    """A container of version 3."""
    return base64.b64decode(VECTORS[name]["container"])


# --- our ingest ---


async def play_to_ingest(transcript: Transcript, root: Path, redis: Redis, redis_url: str) -> None:
    golden_models(root, transcript.codec)
    settings = CloudSettings(
        model="golden",
        models_root=root,
        role=Role.INGEST,
        grpc_port=0,
        http_port=0,
        redis_url=redis_url,
        stop_seconds=1.0,
        sweep_seconds=0.05,
    )
    hello = transcript.lines[0].request.hello

    async def act(deed: Fields) -> None:
        ((what, value),) = deed.items()
        match what:
            case "detect":
                frame = FrameId(hello.camera_id, hello.epoch, value)
                await cloud.store.put_detections(frame, make_result(("car", 0.5)))
            case "refetch":
                await cloud.store.refetches.request(FrameId(hello.camera_id, hello.epoch, value))
            case "remove":
                frame = FrameId(hello.camera_id, hello.epoch, value)
                await cloud.store.retention.remove(frame)
            case "budget":
                await cloud.store.budgets.want(hello.camera_id, Budget(**value))
            case "empty":
                await redis.flushall()
            case "stop":
                cloud.life.request_stop()
            case _:
                raise ValueError(f"nobody can {what}")

    async with open_cloud(settings) as cloud:
        await play_client(transcript, cloud.grpc_address, act)


@for_ingest
async def test_our_ingest_says_what_the_transcript_says(
    transcript: Transcript, tmp_path: Path, client: Redis, redis_url: str
) -> None:
    await play_to_ingest(transcript, tmp_path, client, redis_url)


async def test_what_the_transcript_does_not_say_is_found(
    tmp_path: Path, client: Redis, redis_url: str
) -> None:
    transcript = next(t for t in transcripts("client") if t.name == "intra_stream")
    lines = list(transcript.lines)
    at = next(n for n, line in enumerate(lines) if line.cloud and "ack" in line.cloud)
    del lines[at]  # RECEIVED, which may come
    ack = {**(lines[at].cloud or {})["ack"], "received_bytes_total": "1"}
    lines[at] = replace(lines[at], cloud={"ack": ack})

    with pytest.raises(UnexpectedError, match="intra_stream, line 6: the cloud said"):
        await play_to_ingest(replace(transcript, lines=tuple(lines)), tmp_path, client, redis_url)


# --- our cameras ---


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> CodecArtifact:
    root = tmp_path_factory.mktemp("models")
    return load_codec_artifact(make_toy_codec(root, prior="context"))


@for_cameras
async def test_our_edge_sends_what_it_must(
    transcript: Transcript, codec: CodecArtifact, tmp_path: Path
) -> None:
    paint_scene(tmp_path / "pictures")
    stop = asyncio.Event()
    async with TranscriptCloud(transcript) as cloud:
        settings = EdgeSettings(
            source=str(tmp_path / "pictures"),
            cloud_address=cloud.address,
            model="toy",
            models_root=codec.directory.parent.parent,
            picture_fps=25.0,
            max_fps=25.0,
            loop=True,
            encoder_threads=1,
            reconnect_min_seconds=0.02,
            reconnect_max_seconds=0.1,
        )
        edge = asyncio.create_task(run_edge(settings, stop=stop))
        await cloud.played.wait()
        if transcript.name == "drain":
            await cloud.came_back.wait()
        await cloud.hear_more(MORE_FRAMES)
        stop.set()
        await edge

    assert cloud.rules.broken == []


@for_cameras
async def test_the_node_client_sends_what_it_must(transcript: Transcript, tmp_path: Path) -> None:
    if not (NODE_CLIENT / "node_modules" / "@grpc").exists() or shutil.which("node") is None:
        pytest.skip("no Node.js, or no modules for it: run `npm ci` in node_client")
    sent = ["deep_0", "deep_1", "deep_2", "deep_3", "key_0", "changed_5_0", "key_1", "key_2"]
    if transcript.name == "old_cloud":
        sent = ["key_0", "key_1", "key_2"]
    for number, name in enumerate(sent, start=1):
        needed = VECTORS[name].get("reference")
        needs = f".needs-{sent.index(needed) + 1:04d}" if needed else ""
        path = tmp_path / f"{number:04d}{needs}.slw"
        path.write_bytes(golden(name))

    async with TranscriptCloud(transcript) as cloud:
        node = await asyncio.create_subprocess_exec(
            "node",
            str(NODE_CLIENT / "camera.js"),
            f"--address={cloud.address}",
            f"--containers={tmp_path}",
            stdout=asyncio.subprocess.DEVNULL,
        )
        try:
            await cloud.finish()
            assert await node.wait() == 0
        finally:
            if node.returncode is None:
                node.kill()
                await node.wait()

    assert cloud.rules.broken == []


# --- the rules themselves ---

WELCOME = pb.Welcome(credit_bytes=300, protocol_minor=2, max_reference_depth=2, store_id="one")


def frame(sequence: int, reference: int = 0, **more: object) -> pb.StreamFramesRequest:
    container = golden("key_0" if not reference else "changed_5_0")
    values = {"container": container, "capture_after_us": 5, **more}
    return pb.StreamFramesRequest(
        frame=pb.Frame(sequence=sequence, reference_sequence=reference, **values)  # type: ignore[arg-type]
    )


def ack(sequence: int) -> pb.StreamFramesResponse:
    return pb.StreamFramesResponse(ack=pb.Ack(sequence=sequence, stage=pb.STAGE_PERSISTED))


def refused(sequence: int) -> pb.StreamFramesResponse:
    reason = pb.NACK_REASON_REFERENCE
    return pb.StreamFramesResponse(nack=pb.Nack(sequence=sequence, reason=reason))


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ([frame(0)], "sequence 0"),
        ([frame(1), frame(2, 1)], "names 1, not known to be PERSISTED"),
        ([frame(1), ack(1), frame(2, 1), ack(2), frame(3, 2), ack(3), frame(4, 3)], "needs 3"),
        ([frame(1), ack(1), frame(2, 2)], "no earlier one"),
        ([frame(1), frame(1)], "was not asked for"),
        ([frame(1, container_crc32c=1)], "another checksum"),
        ([frame(1), frame(2), frame(3)], "beyond the window"),
        ([frame(1), ack(1), refused(2), *(frame(n, 1) for n in range(3, 12))], "still, after"),
        ([frame(1), ack(1), refused(2), frame(3), frame(4, 3)], "names 3, not known"),
        ([pb.StreamFramesRequest(gap=pb.Gap(reason=pb.GAP_REASON_DISK))], "without a number"),
        ([pb.StreamFramesRequest(hello=pb.Hello())], "hello after its Hello"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_camera_that_breaks_a_rule_is_found_out(
    said: list[pb.StreamFramesRequest | pb.StreamFramesResponse], complaint: str
) -> None:
    rules = Rules()
    hello = pb.Hello(camera_id="gate", epoch=7, model_fingerprint=bytes(8), time_mono_us=9)
    hello.time_unix_us = 9
    rules.hear_hello(pb.StreamFramesRequest(hello=hello))
    rules.say_welcome(WELCOME)
    for message in said:
        assert not any(complaint in broken for broken in rules.broken)
        if isinstance(message, pb.StreamFramesRequest):
            rules.hear(message)
        else:
            rules.say(message)

    assert any(complaint in broken for broken in rules.broken)
