"""`/` and `/ui/{file}`: the review page, a few files without a build step, and nothing from
elsewhere. They hold no data, so they are open to everyone.
"""

from fastapi import APIRouter, Request, Response
from starlette.staticfiles import StaticFiles

_HEADERS = {
    # Runs these files and no others.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def build_page_router() -> APIRouter:
    """The page's files."""
    files = StaticFiles(packages=[("slimcloud.review", "ui")])
    router = APIRouter(include_in_schema=False)

    @router.api_route("/", methods=["GET", "HEAD"])
    @router.api_route("/ui/{name}", methods=["GET", "HEAD"])
    async def page(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        response = await files.get_response(name, request.scope)
        response.headers.update(_HEADERS)
        return response

    return router
