"""The API keeps its own description, whatever it is sent: schemathesis against a served API."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from slimcodec.detection import Detection
from support.cloud.review import (
    EPOCH,
    ReviewWorld,
    ToyCodec,
    give_tokens,
    open_review,
    served,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

CONFIG = Path(__file__).with_name("schemathesis.toml")
CAR = Detection((4.0, 5.0, 30.0, 25.0), 0.9, 2, "car")
MAX_EXAMPLES = 2  # of generated input for each operation; those of the coverage phase are more


@pytest.fixture
async def review(redis_url: str, toy_codec: ToyCodec) -> AsyncIterator[ReviewWorld]:
    """With tokens, for the description says that they are needed."""
    async with open_review(redis_url, toy_codec, tokens=give_tokens(ada="admin")) as world:
        yield world


async def test_schemathesis_finds_nothing(review: ReviewWorld, tmp_path: Path) -> None:
    await review.store.cameras.connect("gate-1", epoch=EPOCH, model_name="toy/1", connection="c")
    for sequence in range(1, 9):
        await review.send(sequence, level=sequence % 3, found=None if sequence == 8 else [CAR])
    await review.store.retention.remove(await review.send(9))

    async with served(review) as http:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG),
            "run", f"{http.base_url}/api/v1/openapi.json",
            "--header", "Authorization: Bearer ada",
            "--exclude-path", "/api/v1/events/stream",  # it never ends: see test_review_service
            "--max-examples", str(MAX_EXAMPLES), "--seed", "1", "--continue-on-failure",
            "--suppress-health-check", "all", "--no-color",
            cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await process.communicate()
        metrics = (await http.get("/metrics")).text

    assert process.returncode == 0, said.decode()
    for reached in (  # it did not only knock
        'method="GET",route="/api/v1/frames/{frame_id}/image",status="200"',
        'method="POST",route="/api/v1/frames/{frame_id}/reviews",status="201"',
        'method="POST",route="/api/v1/frames/{frame_id}/refetch",status="202"',
    ):
        assert reached in metrics, said.decode()
    assert 'status="500"' not in metrics
