"""`/`: the review page, one file, with nothing from elsewhere."""

import base64
import hashlib
import re
from importlib import resources

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

__all__ = ["build_page_router"]


def build_page_router() -> APIRouter:
    """The page, read once, under a policy that allows its own script and style and no others."""
    html = resources.files("slimcloud").joinpath("ui/index.html").read_text(encoding="utf-8")
    etag = f'"{hashlib.sha256(html.encode()).hexdigest()[:32]}"'
    headers = {
        "Content-Security-Policy": _policy(html),
        "Cache-Control": "no-cache",
        "ETag": etag,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    router = APIRouter()

    @router.head("/", include_in_schema=False)
    @router.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(html, headers=headers)

    return router


def _policy(html: str) -> str:
    """Content-Security-Policy that names the page's script and style by their digests."""
    digests = {
        tag: " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            for text in re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        )
        for tag in ("script", "style")
    }
    return (
        f"default-src 'none'; script-src {digests['script']}; style-src {digests['style']}; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
