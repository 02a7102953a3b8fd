from __future__ import annotations

import asyncio

import pytest
from fastapi import Request
from starlette.types import Message

from slimcloud.review.routes.images import while_connected


def _request(gone: asyncio.Event) -> Request:
    messages: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http", "method": "GET", "headers": []}, receive)


async def test_work_ends_when_its_client_goes_away() -> None:
    gone, begun = asyncio.Event(), asyncio.Event()
    cancelled: list[str] = []

    async def work() -> bool:
        begun.set()
        try:
            return await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append("work")
            raise

    waiting = asyncio.create_task(while_connected(_request(gone), work()))
    await begun.wait()
    gone.set()

    assert await waiting is None
    assert cancelled == ["work"]


async def test_work_of_a_client_that_stays_gives_its_result_or_error() -> None:
    async def work() -> int:
        return 1 // 1

    async def fail() -> int:
        return 1 // 0

    assert await while_connected(_request(asyncio.Event()), work()) == 1
    with pytest.raises(ZeroDivisionError):
        await while_connected(_request(asyncio.Event()), fail())
