"""Certificates of the servers: what cameras and people are shown, and what cameras must show."""

from __future__ import annotations

import grpc
import grpc.aio

from slimcloud.settings import CloudSettings


def add_port(server: grpc.aio.Server, address: str, settings: CloudSettings) -> int:
    """Listen for cameras, with TLS where there is a certificate; gives the bound port.

    Raises:
        RuntimeError: the address cannot be bound, or the certificate is none.
        OSError: a file cannot be read.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return int(server.add_insecure_port(address))
    camera_ca = settings.camera_ca
    credentials = grpc.ssl_server_credentials(
        [(settings.tls_key.read_bytes(), settings.tls_cert.read_bytes())],
        root_certificates=None if camera_ca is None else camera_ca.read_bytes(),
        require_client_auth=camera_ca is not None,
    )
    return int(server.add_secure_port(address, credentials))
