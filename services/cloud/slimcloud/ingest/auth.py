"""A camera is who it says it is: by a certificate, by a token, or because nobody else can connect.

With `camera_ca` the TLS library has checked the certificate already; its subject alternative name
`slimwire://camera/<camera id>` must be the camera of the Hello. Else, where cameras are asked for
tokens, the call's `authorization: Bearer <token>` must be that camera's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, Self

import grpc
from cryptography import x509

from slimcloud.errors import StreamRefusedError
from slimcloud.roles import AccessRole
from slimcloud.settings import CloudSettings
from slimcloud.tokens import Identity, TokenTable, bearer_token

CAMERA_URI = "slimwire://camera/"
_ALTERNATIVE_NAMES = "x509_subject_alternative_name"  # of gRPC's auth context
_CERTIFICATE = "x509_pem_cert"  # the same


class _Call(Protocol):
    """What is asked of a gRPC call."""

    def auth_context(self) -> Mapping[str, Iterable[bytes]]: ...

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None: ...


@dataclass(frozen=True, slots=True)
class CameraAuth:
    """How the cameras of one process prove themselves."""

    certificates: bool
    tokens: TokenTable | None  # None where none is asked for

    @classmethod
    def of(cls, settings: CloudSettings) -> Self:
        tokens = settings.token_table if settings.asks_for_camera_tokens else None
        return cls(settings.camera_ca is not None, tokens)

    def with_tokens(self, table: TokenTable) -> Self:
        """The same by another table; whether tokens are asked for stays as it was."""
        return self if self.tokens is None else replace(self, tokens=table)

    def admit(self, call: _Call) -> None:
        """Let a call say its Hello.

        Raises:
            StreamRefusedError: UNAUTHENTICATED without a known token, where one is asked for.
        """
        if not self.certificates and self.tokens is not None:
            _identify(self.tokens, call)

    def check(self, call: _Call, camera_id: str) -> None:
        """Let a call pass as that of a camera.

        Raises:
            StreamRefusedError: UNAUTHENTICATED without a known token, PERMISSION_DENIED with that
                of another camera.
        """
        if self.certificates:
            names = call.auth_context().get(_ALTERNATIVE_NAMES, ())
            if f"{CAMERA_URI}{camera_id}".encode() not in names:
                raise _denied(
                    f"the certificate is not that of camera {camera_id!r}; let EDGE_CAMERA_ID and "
                    "EDGE_TLS_CERT agree"
                )
        elif self.tokens is not None:
            identity = _identify(self.tokens, call)
            if identity.role is not AccessRole.CAMERA or identity.name != camera_id:
                raise _denied(
                    f"the token is that of {identity.role} {identity.name!r}, the Hello says "
                    f"camera {camera_id!r}"
                )

    def ends_unix(self, call: _Call) -> float | None:
        """When the certificate of a call expires, wall clock seconds; None where none is asked."""
        if not self.certificates:
            return None
        (pem,) = call.auth_context()[_CERTIFICATE]
        return x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()


def _identify(tokens: TokenTable, call: _Call) -> Identity:
    identity = tokens.find(_token_of(call))
    if identity is None:
        raise StreamRefusedError(
            grpc.StatusCode.UNAUTHENTICATED,
            "no known token came with the call; set EDGE_TOKEN_FILE at the camera",
        )
    return identity


def _token_of(call: _Call) -> str:
    for key, value in call.invocation_metadata() or ():
        if key == "authorization" and isinstance(value, str):
            return bearer_token(value) or ""
    return ""


def _denied(detail: str) -> StreamRefusedError:
    return StreamRefusedError(grpc.StatusCode.PERMISSION_DENIED, detail)
