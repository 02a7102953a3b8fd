"""The cloud as an edge reaches it: address, how it is trusted, and how this camera proves itself.

Certificates are read for every new channel, so renewed ones are used from the next reconnect on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import grpc
import grpc.aio

from slimedge.settings import EdgeSettings


@dataclass(frozen=True, slots=True)
class CloudEndpoint:
    """Where the cloud is; plaintext and nameless unless told otherwise."""

    address: str  # host:port
    tls_ca: Path | None = None  # PEM certificates that sign the cloud's; None for plaintext
    tls_cert: Path | None = None  # PEM certificate of this camera, and its key
    tls_key: Path | None = None
    token: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, settings: EdgeSettings) -> Self:
        """As the settings say."""
        return cls(
            settings.cloud_address,
            settings.tls_ca,
            settings.tls_cert,
            settings.tls_key,
            settings.token,
        )

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What every call carries."""
        return () if self.token is None else (("authorization", f"Bearer {self.token}"),)

    def open(self, options: Sequence[tuple[str, int]]) -> grpc.aio.Channel:
        """A new channel, not yet connected.

        Raises:
            OSError: a certificate or key cannot be read.
        """
        if self.tls_ca is None:
            return grpc.aio.insecure_channel(self.address, options=options)
        credentials = grpc.ssl_channel_credentials(
            self.tls_ca.read_bytes(),
            None if self.tls_key is None else self.tls_key.read_bytes(),
            None if self.tls_cert is None else self.tls_cert.read_bytes(),
        )
        return grpc.aio.secure_channel(self.address, credentials, options=options)
