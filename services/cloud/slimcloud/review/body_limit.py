"""How much a request may bring: FastAPI reads a body before it asks whose it is."""

from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 2**16  # a comment of 2,000 characters takes 24,000, each escaped as a pair


class BodyLimit:
    """ASGI middleware: to read a larger body raises 413 inside the API, which makes it a problem
    (starlette's own middleware answers in plain text). What is declared counts before a byte is
    read.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        read_bytes = 0

        async def limited_receive() -> Message:
            nonlocal read_bytes
            declared = Headers(scope=scope).get("content-length", "0")
            if int(declared) <= MAX_BODY_BYTES:
                message = await receive()
                read_bytes += len(message.get("body", b""))
                if read_bytes <= MAX_BODY_BYTES:
                    return message
            raise HTTPException(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the body is above {MAX_BODY_BYTES} bytes",
                {"Connection": "close"},  # the rest is not read
            )

        await self._app(scope, limited_receive, send)
