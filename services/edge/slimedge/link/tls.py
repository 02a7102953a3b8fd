"""Why TLS does not come about, in words: gRPC says only that the cloud cannot be reached.

Another handshake is made beside it, with the library that says what it finds.
"""

import socket
import ssl

from slimedge.settings import EdgeSettings

_SECONDS = 2.0  # for the handshake, and for the cloud to look at the certificate of this camera
_EXPIRED, _OTHER_HOSTS = (9, 10), (62, 64)  # X509_V_ERR_...; not valid yet is one of the former


def tls_failure(settings: EdgeSettings) -> str | None:
    """Look at the cloud's end; None where TLS is not what fails. Blocks for some seconds."""
    host, _, port = settings.cloud_address.rpartition(":")
    host = host.strip("[]")
    try:
        context = _context(settings)
        with (
            socket.create_connection((host, int(port)), _SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host) as tls,
        ):
            if settings.tls_ca is None:
                return "the cloud speaks TLS; set EDGE_TLS_CA to the file of the CA that signed it"
            return None if tls.recv(1) else _why_refused(settings)
    except ssl.SSLCertVerificationError as exc:
        return _why_not_trusted(settings, exc)
    except ssl.SSLError as exc:
        return _why_broken(settings, exc)
    except (OSError, ValueError):  # not there, or content: it waits for our word
        return None


def _context(settings: EdgeSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.tls_ca)
    if settings.tls_ca is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if settings.tls_cert is not None:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    context.set_alpn_protocols(["h2"])
    return context


def _why_not_trusted(settings: EdgeSettings, error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _EXPIRED:
        return f"{error.verify_message}: the cloud's; renew its CLOUD_TLS_CERT, or set the clocks"
    if error.verify_code in _OTHER_HOSTS:
        return (
            f"{error.verify_message}: the cloud's certificate is for other names; use one of them "
            "in EDGE_CLOUD_ADDRESS, or have its CLOUD_TLS_CERT made for this one"
        )
    return (
        f"{error.verify_message}: EDGE_TLS_CA ({settings.tls_ca}) is not the CA that signed the "
        "cloud's CLOUD_TLS_CERT; set it to that"
    )


def _why_refused(settings: EdgeSettings) -> str:
    """The cloud has looked at the certificate of this camera and ended without a word."""
    if settings.tls_cert is None:
        return "the cloud asks for a certificate of this camera; set EDGE_TLS_CERT and EDGE_TLS_KEY"
    return (
        f"the cloud refuses EDGE_TLS_CERT ({settings.tls_cert}): renew it if it has expired, or "
        "have it signed by the CA of the cloud's CLOUD_CAMERA_CA"
    )


def _why_broken(settings: EdgeSettings, error: ssl.SSLError) -> str | None:
    reason = error.reason or str(error)
    if "ALERT" in reason:
        return f"{_why_refused(settings)} ({reason})"
    if error.library in ("PEM", "X509"):
        return f"EDGE_TLS_CA, EDGE_TLS_CERT or EDGE_TLS_KEY cannot be used: {reason}"
    if settings.tls_ca is None:
        return None
    return f"the cloud speaks no TLS ({reason}); unset EDGE_TLS_CA, or set its CLOUD_TLS_CERT"
