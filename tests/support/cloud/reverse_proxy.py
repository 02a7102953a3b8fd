"""A small reverse proxy: another server before the API, as nginx or oauth2-proxy would be."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from slimcloud.http.server import HttpServer

ADDRESS = "127.0.0.2"  # that it asks from
_OF_ONE_HOP = {"connection", "transfer-encoding", "keep-alive"}


@asynccontextmanager
async def reverse_proxy(
    upstream: str, prefix: str, *, strips: bool = True, signed_on: dict[str, str] | None = None
) -> AsyncIterator[str]:
    """The address of a proxy that has `upstream` below `prefix`.

    Args:
        strips: takes the prefix off what it passes on.
        signed_on: headers that it sets, whatever its client said.
    """
    transport = httpx.AsyncHTTPTransport(local_address=ADDRESS)

    async def pass_on(request: Request) -> Response:
        path = request.url.path.removeprefix(prefix) if strips else request.url.path
        headers = {**request.headers, **(signed_on or {})}
        answer = await client.send(
            client.build_request(
                request.method,
                f"{upstream}{path or '/'}?{request.url.query}",
                headers=headers,
                content=await request.body(),
            ),
            stream=True,
        )
        kept = {k: v for k, v in answer.headers.items() if k not in _OF_ONE_HOP}
        ending = BackgroundTask(answer.aclose)
        return StreamingResponse(answer.aiter_raw(), answer.status_code, kept, background=ending)

    methods = ["GET", "HEAD", "POST", "PUT", "DELETE"]
    routes = [Route(f"{prefix}{rest}", pass_on, methods=methods) for rest in ("", "/{path:path}")]
    server = HttpServer(Starlette(routes=routes), "127.0.0.1", 0)
    server.start(lambda serving, name: asyncio.create_task(serving, name=name))
    async with httpx.AsyncClient(transport=transport, timeout=None) as client:
        try:
            yield server.url
        finally:
            await server.stop()
            await server.close()
