"""The commands of docs/api.md, as they stand there, against a served API."""

import asyncio
import re
import shutil
from pathlib import Path

import pytest

from slimcloud.frame_id import FrameId
from support.cloud.review import EPOCH, ReviewWorld, served

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl: apt install curl")

DOCUMENT = Path(__file__).resolve().parents[4] / "docs" / "api.md"
_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


async def test_every_command_of_the_document_is_answered(
    review: ReviewWorld, tmp_path: Path
) -> None:
    await review.store.cameras.connect("gate-1", epoch=EPOCH, model_name="toy/1", connection="c")
    frame_id = await review.send(1, found=None)
    await review.store.set_dropped(frame_id, "its deadline passed")
    request = await review.store.refetches.request(frame_id)
    commands = [
        line.partition("  #")[0]
        for block in _BLOCK.findall(DOCUMENT.read_text(encoding="utf-8"))
        for line in block.splitlines()
    ]

    async with served(review) as http:
        statuses = {
            command: await _status(
                command, str(http.base_url), frame_id, request.request_id, tmp_path
            )
            for command in commands
        }

    assert len(statuses) > 10
    assert {command: status for command, status in statuses.items() if status >= 300} == {}
    assert (tmp_path / "frame.webp").read_bytes()[8:12] == b"WEBP"


async def _status(command: str, base: str, frame_id: FrameId, request: str, cwd: Path) -> int:
    """What the cloud answers to a command; an event stream is left after a moment."""
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", f"{command} -w '\\n%{{http_code}}' --max-time $PATIENCE",
        env={
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "BASE": base,
            "FRAME": str(frame_id),
            "REQUEST": request,
            "PATIENCE": "1" if "/events/stream" in command else "60",
        },
        cwd=cwd, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, _ = await process.communicate()
    return int(said.rsplit(b"\n", 1)[-1])
