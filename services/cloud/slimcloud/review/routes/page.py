"""`/` and `/ui/{file}`: the review page, a few files without a build step, and nothing from
elsewhere. They hold no data, so they are open to everyone.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Annotated

from fastapi import APIRouter, Header, HTTPException, Response

_MEDIA_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class _Asset:
    content: bytes
    media_type: str

    @cached_property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'


def build_page_router() -> APIRouter:
    """The page's files, read once, under a policy that runs these files and no others."""
    assets = {
        file.name: _Asset(file.read_bytes(), _MEDIA_TYPES[suffix])
        for file in resources.files("slimcloud.review").joinpath("ui").iterdir()
        if (suffix := file.name.rpartition(".")[2]) in _MEDIA_TYPES
    }
    router = APIRouter(include_in_schema=False)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def page(if_none_match: Annotated[str | None, Header()] = None) -> Response:
        return _answer(assets["index.html"], if_none_match)

    @router.api_route("/ui/{name}", methods=["GET", "HEAD"])
    async def file(name: str, if_none_match: Annotated[str | None, Header()] = None) -> Response:
        if name not in assets:
            raise HTTPException(404, f"the page has no file {name[:80]!r}")
        return _answer(assets[name], if_none_match)

    return router


def _answer(asset: _Asset, if_none_match: str | None) -> Response:
    headers = {
        "Content-Security-Policy": _POLICY,
        "Cache-Control": "no-cache",
        "ETag": asset.etag,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    if if_none_match == asset.etag:
        return Response(status_code=304, headers=headers)
    return Response(asset.content, media_type=asset.media_type, headers=headers)
