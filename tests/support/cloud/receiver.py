"""A web server outside that takes notifications, or does not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message as Headers
from email.parser import BytesHeaderParser

HANG = 0  # as an answer: none


@dataclass(frozen=True)
class Received:
    headers: Headers
    body: bytes


@dataclass
class HttpReceiver:
    """Answers each request with the next of `answers`, with 204 when there is none left."""

    answers: list[int] = field(default_factory=list)
    url: str = ""
    asked: asyncio.Queue[Received] = field(default_factory=asyncio.Queue)  # answered or not

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readline()
                headers = BytesHeaderParser().parsebytes(await reader.readuntil(b"\r\n\r\n"))
                body = await reader.readexactly(int(headers["content-length"]))
                status = self.answers.pop(0) if self.answers else 204
                self.asked.put_nowait(Received(headers, body))
                if status == HANG:
                    await reader.read()  # until the client gives up
                    break
                retry = "retry-after: 7\r\n" if status == 503 else ""
                writer.write(f"HTTP/1.1 {status} -\r\n{retry}content-length: 0\r\n\r\n".encode())
        writer.close()


@asynccontextmanager
async def http_receiver(*answers: int) -> AsyncIterator[HttpReceiver]:
    """One on loopback."""
    receiver = HttpReceiver(list(answers))
    server = await asyncio.start_server(receiver._answer, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    async with server:
        yield receiver
