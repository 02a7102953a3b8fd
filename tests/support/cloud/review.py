"""A review role over a real Redis and the toy codec, with the camera's side in the test's hands."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from fastapi import FastAPI
from numpy.typing import NDArray
from redis.asyncio import Redis

from slimcloud.chain import ChainDecoder, CodedFrame, DecodedFrame
from slimcloud.frame_id import FrameId
from slimcloud.http.behind_proxy import BehindProxy
from slimcloud.http.probes import Readiness
from slimcloud.http.server import HttpServer
from slimcloud.review import ReviewMetrics, build_api, end_event_streams, take_tokens
from slimcloud.review.pictures.preview import PreviewRenderer
from slimcloud.review.pictures.reconstruct import Reconstructor, sharp_quality_of
from slimcloud.sign_on import SignOn
from slimcloud.store.frames import Store
from slimcloud.store.records import DetectionResult, FrameState, Lane, StoredFrame
from slimcloud.tokens import LiveTokens, TokenTable, token_digest
from slimcodec.decode import Decoder, Latent
from slimcodec.detection import Detection
from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.load import load_codec_artifact
from slimops.metrics import Metrics
from slimops.storage.redis_connection import redis_client
from support.models.toy_artifact import make_image, make_toy_codec
from support.models.toy_preview import toy_previewer

EPOCH = 0x197F3A1B2C3
START_UNIX_US = 1_780_000_000_000_000  # capture time of sequence 0
PERIOD_US = 100_000  # between captures
NAMES = ("person", "bicycle", "car")


class CountingDecoder:
    """The real decoder, counting the pictures it makes."""

    def __init__(self, decoder: ChainDecoder) -> None:
        self._decoder = decoder
        self.pictures = 0

    def decode(self, frame: CodedFrame) -> DecodedFrame:
        return self._decoder.decode(frame)

    def decode_image(self, latent: Latent) -> NDArray[np.uint8]:
        self.pictures += 1
        return self._decoder.decode_image(latent)


class ToyCodec:
    """Encoder and decoder of the toy artifact, made once per test run."""

    def __init__(self, directory: Path) -> None:
        runtime = OpenVinoRuntime(num_threads=1, precision="f32")
        self.artifact: CodecArtifact = load_codec_artifact(make_toy_codec(directory))
        self.encoder = Encoder(self.artifact, runtime)
        self.decoder = Decoder(self.artifact, runtime)


class ReviewWorld:
    """The API, a client for it, and what a camera and a detector would do."""

    def __init__(
        self,
        client: Redis,
        codec: ToyCodec,
        *,
        max_waiting: int = 16,
        tokens: TokenTable | None = None,
        sign_on: SignOn | None = None,
    ) -> None:
        self.client = client
        self.store = store = Store(client)
        self.codec = codec
        self.decoder = CountingDecoder(ChainDecoder(codec.decoder, codec.artifact))
        self.metrics = ReviewMetrics(Metrics("cloud"))
        self.readiness = Readiness()
        self.readiness.checks.append(store.ping)
        self.reconstructor = Reconstructor(
            self.decoder,
            decoder_id=codec.artifact.label,
            num_workers=1,
            max_waiting=max_waiting,
            on_result=lambda result: self.metrics.cache.labels("picture", result).inc(),
            on_decoded=self.metrics.decode_seconds.observe,
        )
        live = LiveTokens(tokens or TokenTable(()), store.cameras.token_digests)
        self.api: FastAPI = build_api(
            store,
            self.reconstructor,
            PreviewRenderer(self.decoder, toy_previewer(codec.artifact)),
            names=NAMES,
            num_levels=len(codec.artifact.levels),
            sharp_quality=sharp_quality_of(codec.artifact),
            readiness=self.readiness,
            metrics=self.metrics,
            look_at_tokens=live.look,
            tokens=tokens,
            sign_on=sign_on,
            allowed_hosts=["review"],
        )
        live.follow(lambda table: take_tokens(self.api, table))
        self.images: dict[FrameId, NDArray[np.uint8]] = {}
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.api), base_url="http://review"
        )

    async def send(
        self,
        sequence: int,
        *,
        camera_id: str = "gate-1",
        level: int = 0,
        quality: int = 3,
        image_hw: tuple[int, int] = (49, 65),
        found: Sequence[Detection] | None = (),
        container: bytes | None = None,
        link_bytes_per_second: int = 0,
        reference: int = 0,
        activity: float | None = None,
    ) -> FrameId:
        """A frame arrives; `found` is what the detector says, None leaves it waiting."""
        frame_id = FrameId(camera_id, EPOCH, sequence)
        image = make_image(*image_hw, seed=sequence)
        self.images[frame_id] = image
        capture_us = START_UNIX_US + sequence * PERIOD_US
        container = container or self.codec.encoder.encode(image, level, quality).bitstream
        await self.store.put_frame(
            StoredFrame(
                frame_id=frame_id,
                level=level,
                quality=quality,
                image_height=image_hw[0],
                image_width=image_hw[1],
                capture_time_unix_us=capture_us,
                received_time_unix_us=capture_us + 20_000,
                expires_unix_us=0,
                lane=Lane.LIVE,
                base_bytes=len(container),
                state=FrameState.QUEUED,
                link_bytes_per_second=link_bytes_per_second,
                reference_sequence=reference,
                activity=activity,
            ),
            container,
        )
        if found is not None:
            await self.detect(frame_id, found)
        return frame_id

    async def detect(self, frame_id: FrameId, found: Sequence[Detection]) -> None:
        """The detector says what it sees in a frame."""
        capture_us = START_UNIX_US + frame_id.sequence * PERIOD_US
        await self.store.put_detections(frame_id, _result(found, capture_us + 90_000))

    async def answer_refetch(self, frame_id: FrameId, request_id: str = "") -> None:
        """The camera sends what the frame left out."""
        base = await self.store.get_container(frame_id)
        enhancement = self.codec.encoder.enhance(self.images[frame_id], base).bitstream
        await self.store.put_enhancement(frame_id, enhancement, request_id)


@asynccontextmanager
async def open_review(
    redis_url: str,
    codec: ToyCodec,
    *,
    max_waiting: int = 16,
    tokens: TokenTable | None = None,
    sign_on: SignOn | None = None,
) -> AsyncIterator[ReviewWorld]:
    """A review role over the store of `redis_url`; everything is closed afterwards."""
    client: Redis = redis_client(redis_url)
    world = ReviewWorld(client, codec, max_waiting=max_waiting, tokens=tokens, sign_on=sign_on)
    try:
        yield world
    finally:
        end_event_streams(world.api)
        await world.http.aclose()
        world.reconstructor.close()
        await client.aclose()


@asynccontextmanager
async def served(review: ReviewWorld, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """The API behind a real server: an in-process transport waits for a stream's end.

    Args:
        settings: of `BehindProxy`.
    """
    server = HttpServer(BehindProxy(review.api, **settings), "127.0.0.1", 0)
    server.start(lambda serving, name: asyncio.create_task(serving, name=name))
    try:
        async with httpx.AsyncClient(base_url=server.url) as http:
            yield http
    finally:
        end_event_streams(review.api)
        await server.stop()
        await server.close()


def give_tokens(**roles: str) -> TokenTable:
    """Access for people whose token is their name, each with a role."""
    lines = [f"{role} {name} {token_digest(name)}" for name, role in roles.items()]
    return TokenTable.parse("\n".join(lines))


def _result(found: Sequence[Detection], detected_us: int) -> DetectionResult:
    return DetectionResult(
        detections=tuple(found),
        detector="toy-detector/1",
        codec="toy/1",
        min_score=0.25,
        queue_seconds=0.01,
        compute_seconds=0.05,
        batch_size=2,
        detected_time_unix_us=detected_us,
    )
