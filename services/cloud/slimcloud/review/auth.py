"""Who may ask for what: tokens of people, by header or by cookie.

    GET, HEAD                       viewer
    other methods                   reviewer
    what everybody did,
    dead letters, and changes
    of a camera                     admin

A page cannot send a header with its pictures and event streams; so `POST /api/v1/session` puts the
token of its header into a cookie that scripts cannot read and other sites cannot send. Whom no
token names, a proxy in front may (`SignOn`). Without either everything is open, and
`CloudSettings` keeps such a process on loopback unless told.
"""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request, Response, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer
from pydantic import Field

from slimcloud.review.errors import problems
from slimcloud.review.resource import API_PREFIX, BaseView, url_of
from slimcloud.roles import AccessRole
from slimcloud.sign_on import SignOn
from slimcloud.tokens import Identity, TokenTable

COOKIE = "slimwire_token"
ADMIN_ROUTES = frozenset(
    f"{API_PREFIX}/{path}"
    for path in (
        "reviews",
        "dead-letters",
        "cameras/{camera_id}/budget",
        "cameras/{camera_id}/token",
        "notifications/dead-letters",
        "notifications/dead-letters/{letter_id}/delivery-request",
    )
)
SESSION_SECONDS = 30 * 24 * 3600
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="slimwire"'}  # RFC 6750, section 3
_OPEN = Identity("anyone", AccessRole.ADMIN)

router = APIRouter(prefix=API_PREFIX, tags=["session"])


class SessionView(BaseView):
    """Whose token came."""

    name: str = Field(description="as in the table of tokens; anyone where the API is open")
    role: AccessRole = Field(description="viewer, reviewer or admin")


Bearer = Annotated[
    HTTPAuthorizationCredentials | None,
    Security(HTTPBearer(auto_error=False, description="a token of `slimwire token`")),
]
Cookie = Annotated[
    str | None,
    Security(APIKeyCookie(name=COOKIE, auto_error=False, description="what POST /session has set")),
]


async def _identify(request: Request, bearer: Bearer, cookie: Cookie) -> Identity:
    """Whose the request is; 401 where that is nobody's."""
    tokens: TokenTable | None = request.app.state.tokens
    if tokens is None:
        return _OPEN
    token = cookie if bearer is None else bearer.credentials
    identity = None if token is None else tokens.find(token)
    sign_on: SignOn | None = request.app.state.sign_on
    if identity is None and sign_on is not None:
        identity = sign_on.find(request.headers.getlist)
    if identity is None:
        detail = "no token came; send one" if token is None else "the token is not known"
        raise HTTPException(HTTPStatus.UNAUTHORIZED, f"{detail} as Bearer", _CHALLENGE)
    request.state.identity = identity
    return identity


Identified = Annotated[Identity, Depends(_identify)]


async def authorise(request: Request, identity: Identified) -> None:
    """Let a request pass that its token allows; 401 or 403 otherwise."""
    needed = AccessRole.VIEWER if request.method in ("GET", "HEAD") else AccessRole.REVIEWER
    path = getattr(request.scope.get("route"), "path", "")
    changes_camera = needed is AccessRole.REVIEWER and path.startswith(f"{API_PREFIX}/cameras/")
    if changes_camera or path in ADMIN_ROUTES:
        needed = AccessRole.ADMIN
    if not identity.role.includes(needed):
        raise HTTPException(
            HTTPStatus.FORBIDDEN,
            f"needs the role {needed}; the token of {identity.name} has {identity.role}",
        )


@router.get("/session", responses=problems(401))
async def get_session(identity: Identified) -> SessionView:
    """Whose token came."""
    return SessionView(name=identity.name, role=identity.role)


@router.post("/session", status_code=204, responses=problems(401))
async def begin_session(
    request: Request, response: Response, identity: Identified, bearer: Bearer
) -> None:
    """Keep the token of the header in a cookie, for a browser."""
    if bearer is not None and request.app.state.tokens is not None:
        response.set_cookie(
            COOKIE,
            bearer.credentials,
            max_age=SESSION_SECONDS,
            path=url_of(),
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )


@router.delete("/session", status_code=204)
async def end_session(response: Response) -> None:
    """Forget the cookie."""
    response.delete_cookie(COOKIE, path=url_of(), httponly=True, samesite="strict")
