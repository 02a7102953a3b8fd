"""An edge whose frames refer to those that the cloud has, against a cloud on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from slimcodec.container import parse_container
from slimcodec.decode import Decoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.load import load_codec_artifact
from slimcodec.symbols import FrameSymbols
from slimedge.app import run_edge
from slimedge.event import Encoded, LinkChanged, LinkState, Lost, Nacked, Spooled
from slimedge.memory.bookmark import Bookmark
from slimedge.settings import EdgeSettings
from slimwire.v1 import ingest_pb2 as pb
from support.edge.edge_recorder import EdgeRecorder
from support.edge.fake_cloud import FakeCloud
from support.edge.moving_box import IMAGE_HW, paint_scene
from support.models.toy_artifact import make_toy_codec


@pytest.fixture
def codec(tmp_path: Path) -> CodecArtifact:
    return load_codec_artifact(make_toy_codec(tmp_path / "models", prior="context"))


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    paint_scene(folder)
    return folder


def make_settings(codec: CodecArtifact, scene: Path, address: str, **more: object) -> EdgeSettings:
    values: dict[str, object] = {
        "cloud_address": address,
        "camera_id": "cam-1",
        "source": str(scene),
        "model": "toy",
        "models_root": codec.directory.parent.parent,
        "picture_fps": 25.0,
        "max_fps": 25.0,
        "loop": True,
        "encoder_threads": 1,
        "reconnect_min_seconds": 0.02,
        "reconnect_max_seconds": 0.1,
        "level": 1,
        "quality": 3,
    }
    return EdgeSettings.model_validate(values | more)


def is_inter(container: bytes) -> bool:
    return parse_container(container, bytes(8), IMAGE_HW).is_inter


class Reader:
    """Decodes what came to a cloud, and checks each frame against the rules of the wire."""

    def __init__(self, codec: CodecArtifact) -> None:
        self._decoder = Decoder(codec, OpenVinoRuntime(1))
        self.held: dict[tuple[int, int], FrameSymbols] = {}  # by epoch and sequence
        self.kinds: list[str] = []

    def read(self, epoch: int, frame: pb.Frame, max_depth: int = 8) -> FrameSymbols:
        epoch, sequence = frame.epoch or epoch, frame.sequence
        named = frame.reference_sequence
        assert named < sequence
        assert is_inter(frame.container) == bool(named)
        reference = self.held[epoch, named] if named else None
        symbols = self._decoder.decode_symbols(frame.container, reference=reference)
        assert symbols.depth <= max_depth
        self.held[epoch, sequence] = symbols
        self.kinds.append("inter" if named else "intra")
        self._epoch = epoch
        return symbols

    def enhance(self, frame: pb.Frame, enhancement: pb.Enhancement) -> FrameSymbols:
        """What is held of one of the frames then."""
        reference = self.held.get((self._epoch, frame.reference_sequence))
        return self._decoder.decode_symbols(frame.container, enhancement.container, reference)


@asynccontextmanager
async def edge_and_cloud(
    codec: CodecArtifact, scene: Path, max_reference_depth: int, **more: object
) -> AsyncIterator[tuple[FakeCloud, EdgeRecorder]]:
    async with FakeCloud(
        codec.fingerprint, max_reference_depth=max_reference_depth, store_id="one"
    ) as cloud:
        settings = make_settings(codec, scene, cloud.address, **more)
        recorder, stop = EdgeRecorder(), asyncio.Event()
        running = asyncio.create_task(run_edge(settings, recorder, stop=stop))
        try:
            yield cloud, recorder
        finally:
            stop.set()
            await asyncio.gather(running, return_exceptions=True)


async def test_frames_refer_to_stored_ones_and_decode_to_what_the_edge_coded(
    codec: CodecArtifact, scene: Path
) -> None:
    async with edge_and_cloud(codec, scene, 3) as (cloud, recorder):
        await cloud.wait_until(lambda: len(cloud.frames) >= 40)

    reader, epoch = Reader(codec), cloud.hellos[0].epoch
    for frame in cloud.frames:
        reader.read(epoch, frame, max_depth=3)
        assert not frame.container_crc32c
        assert frame.capture_after_us
    assert reader.kinds[0] == "intra"
    assert reader.kinds[10:].count("intra") == 0
    encoded = recorder.of(Encoded)[10:]
    assert {event.kind for event in encoded} <= {"inter", "unchanged"}
    assert all(event.activity < 1 for event in encoded)
    sizes = [len(frame.container) for frame in cloud.frames]
    assert np.mean(sizes[10:]) < 0.6 * sizes[0]


async def test_a_frame_is_made_sharper_everywhere_whatever_it_was_coded_against(
    codec: CodecArtifact, scene: Path
) -> None:
    asked = (1, 0.0), (1, 4.0), (8, 0.0), (9, 4.5)  # the first frame is coded alone
    async with edge_and_cloud(codec, scene, 3) as (cloud, _):
        await cloud.wait_until(lambda: len(cloud.frames) >= 12)
        for number, (sequence, quality) in enumerate(asked):
            refetch = pb.RefetchEnhancement(sequence=sequence, level=2, quality=quality)
            command = pb.Command(request_id=f"r-{number}", refetch_enhancement=refetch)
            cloud.tell(pb.StreamFramesResponse(command=command))
        await cloud.wait_until(lambda: len(cloud.enhancements) == len(asked))

    reader, frames = Reader(codec), {frame.sequence: frame for frame in cloud.frames}
    for sequence in sorted(frames)[:9]:
        reader.read(cloud.hellos[0].epoch, frames[sequence])
    said = [frame.originals_seconds for frame in cloud.frames if frame.originals_seconds]
    assert len(said) == 1  # not with every frame
    assert said[0] > 60
    for answer, (sequence, quality) in zip(cloud.enhancements, asked, strict=True):
        sharper = reader.enhance(frames[sequence], answer)
        assert answer.sequence == sequence
        assert (sharper.levels == 2).all()
        assert (sharper.qualities == 256 * max(quality, 3)).all()


async def test_frames_that_an_earlier_start_of_a_recording_has_sent_are_not_named(
    codec: CodecArtifact, tmp_path: Path
) -> None:
    paint_scene(tmp_path / "recording", 40)
    async with FakeCloud(codec.fingerprint, max_reference_depth=8) as cloud:
        settings = make_settings(codec, tmp_path / "recording", cloud.address, loop=False)
        bookmark = Bookmark.open(tmp_path / "state", settings, 1_577_836_800.0)
        cloud.persisted[bookmark.epoch] = set(range(1, 11))  # the bookmark fell behind
        await run_edge(settings, recording=bookmark)

    named = [frame.reference_sequence for frame in cloud.frames if frame.reference_sequence]
    assert cloud.sequences == list(range(1, 41))
    assert len(named) >= 10
    assert min(named) > 10


@pytest.mark.parametrize("reason", [pb.NACK_REASON_REFERENCE, pb.NACK_REASON_DECODE])
async def test_after_a_refused_reference_a_frame_comes_alone_and_no_older_one_is_named(
    codec: CodecArtifact, scene: Path, reason: pb.NackReason
) -> None:
    async with edge_and_cloud(codec, scene, 8) as (cloud, _):
        cloud.nacks = {10: pb.Nack(sequence=10, reason=reason)}
        await cloud.wait_until(lambda: len(cloud.frames) >= 30)

    alone = [f.sequence for f in cloud.frames if f.sequence > 10 and not f.reference_sequence]
    later = [f for f in cloud.frames if f.sequence > alone[0] and f.reference_sequence]
    assert len(later) >= 10
    assert all(frame.reference_sequence >= alone[0] for frame in later)


async def test_a_refused_frame_of_an_earlier_start_changes_nothing(
    codec: CodecArtifact, scene: Path
) -> None:
    async with edge_and_cloud(codec, scene, 8) as (cloud, recorder):
        await cloud.wait_until(lambda: len(cloud.frames) >= 10)
        nack = pb.Nack(sequence=5, epoch=7, reason=pb.NACK_REASON_REFERENCE)
        cloud.tell(pb.StreamFramesResponse(nack=nack))
        await recorder.wait_until(lambda: bool(recorder.of(Nacked)))
        await cloud.wait_until(lambda: len(cloud.frames) >= 30)

    assert all(frame.reference_sequence for frame in cloud.frames[5:])


async def test_a_reconnect_goes_on_and_another_store_begins_anew(
    codec: CodecArtifact, scene: Path
) -> None:
    reader = Reader(codec)
    async with edge_and_cloud(codec, scene, 8) as (cloud, recorder):
        await cloud.wait_until(lambda: len(cloud.frames) >= 12)
        cloud.break_streams()
        await cloud.wait_until(lambda: len(cloud.hellos) == 2)
        before = len(cloud.frames)
        await cloud.wait_until(lambda: len(cloud.frames) >= before + 12)

        cloud.store_id, of_first = "two", len(cloud.frames)
        cloud.persisted.clear()
        cloud.break_streams()
        await cloud.wait_until(lambda: len(cloud.hellos) == 3)
        of_first = len(cloud.frames)
        await cloud.wait_until(lambda: len(cloud.frames) >= of_first + 12)

    epoch = cloud.hellos[0].epoch
    for frame in {frame.sequence: frame for frame in cloud.frames[:of_first]}.values():
        reader.read(epoch, frame)
    assert reader.kinds[8:].count("intra") == 0
    reader.held.clear()
    for frame in cloud.frames[of_first:]:
        reader.read(epoch, frame)
    assert [event.state for event in recorder.of(LinkChanged)].count(LinkState.UP) == 3


@pytest.mark.parametrize("outlives_retention", [False, True])
async def test_frames_of_an_outage_need_nothing_that_the_cloud_has(
    codec: CodecArtifact, scene: Path, tmp_path: Path, outlives_retention: bool
) -> None:
    async with edge_and_cloud(codec, scene, 8, spool_folder=tmp_path / "s", spool_fps=25.0) as (
        cloud,
        recorder,
    ):
        await cloud.wait_until(lambda: len(cloud.frames) >= 8)
        await cloud.stop()
        await recorder.wait_until(lambda: len(recorder.of(Spooled)) >= 20)
        if outlives_retention:
            cloud.persisted.clear()
        before = len(cloud.frames)
        await cloud.start()
        kept = {event.sequence for event in recorder.of(Spooled)}
        await cloud.wait_until(lambda: kept <= set(cloud.sequences))

    reader, epoch, frames = Reader(codec), cloud.hellos[0].epoch, cloud.frames
    came_late = [frame for frame in frames[before:] if frame.sequence in kept]
    on_their_way = [frame for frame in came_late if frame.reference_sequence not in (0, *kept)]
    assert came_late[len(on_their_way) :] == [f for f in came_late if f not in on_their_way]
    assert len(on_their_way) < 8
    refused = {event.sequence for event in recorder.of(Nacked)}
    if not outlives_retention:
        assert refused == set()
        assert recorder.of(Lost) == []
    for frame in frames:
        if frame.sequence not in refused:
            reader.read(epoch, frame)
    assert refused & kept <= {frame.sequence for frame in on_their_way}
    assert [f.reference_sequence for f in came_late[len(on_their_way) :]].count(0) == 1


async def test_kept_frames_go_where_their_store_went(
    codec: CodecArtifact, scene: Path, tmp_path: Path
) -> None:
    async with edge_and_cloud(codec, scene, 8, spool_folder=tmp_path / "s", spool_fps=25.0) as (
        cloud,
        recorder,
    ):
        await cloud.wait_until(lambda: len(cloud.frames) >= 8)
        await cloud.stop()
        await recorder.wait_until(lambda: len(recorder.of(Spooled)) >= 8)
        last = max(cloud.sequences)
        kept = {event.sequence for event in recorder.of(Spooled)}
        cloud.store_id = "two"
        cloud.persisted.clear()
        before = len(cloud.frames)
        await cloud.start()

        def lost() -> set[int]:  # all that was stored, and what was on its way
            told = [gap for gap in cloud.gaps if gap.reason == pb.GAP_REASON_STORE_LOST]
            return {n for gap in told for n in range(gap.first_sequence, gap.last_sequence + 1)}

        await cloud.wait_until(lambda: kept <= lost() | set(cloud.sequences[before:]))
        await cloud.wait_until(lambda: last in lost())

    reader, epoch = Reader(codec), cloud.hellos[0].epoch
    for frame in cloud.frames[before:]:
        reader.read(epoch, frame)  # what came refers to nothing of before
    assert len(kept & lost()) < 8


async def test_an_enhancement_is_of_the_frame_and_its_reference(
    codec: CodecArtifact, scene: Path
) -> None:
    async with edge_and_cloud(codec, scene, 8) as (cloud, recorder):
        await cloud.wait_until(lambda: len(cloud.frames) >= 16)
        coded = {e.sequence: e.kind for e in recorder.of(Encoded)}
        asked_for = next(f for f in cloud.frames[7:] if coded[f.sequence] == "inter")
        asked = pb.RefetchEnhancement(sequence=asked_for.sequence)
        command = pb.Command(request_id="r-1", refetch_enhancement=asked)
        cloud.tell(pb.StreamFramesResponse(command=command))
        await cloud.wait_until(lambda: bool(cloud.enhancements or cloud.refusals))

    assert cloud.refusals == []
    reader, epoch = Reader(codec), cloud.hellos[0].epoch
    for frame in cloud.frames:
        reader.read(epoch, frame)
    frame, enhancement = asked_for, cloud.enhancements[0]
    decoder = Decoder(codec, OpenVinoRuntime(1))
    reference = reader.held[epoch, frame.reference_sequence]
    both = decoder.decode_symbols(frame.container, enhancement.container, reference)
    assert both.level == codec.widest_level
    assert not enhancement.container_crc32c
