"""Why TLS does not come about, in words: gRPC says only that the cloud cannot be reached.

Another handshake is made beside it, with the library that says what it finds.
"""

import socket
import ssl

from slimedge.settings import EdgeSettings

_SECONDS = 2.0  # for the handshake, and for the cloud to look at the certificate of this camera
_CLOCKS = "renew its CLOUD_TLS_CERT, or set the clocks"
_HOSTS = "name it in EDGE_CLOUD_ADDRESS as its certificate does, or make it another CLOUD_TLS_CERT"
_BY_VERIFY_CODE = {9: _CLOCKS, 10: _CLOCKS, 62: _HOSTS, 64: _HOSTS}  # X509_V_ERR_...


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
                return "it speaks TLS; set EDGE_TLS_CA to the CA that signed its CLOUD_TLS_CERT"
            return None if tls.recv(1) else _why_refused(settings)
    except ssl.SSLCertVerificationError as exc:
        advice = f"set EDGE_TLS_CA ({settings.tls_ca}) to the CA that signed its CLOUD_TLS_CERT"
        advice = _BY_VERIFY_CODE.get(exc.verify_code, advice)
        return f"the cloud's certificate: {exc.verify_message}; {advice}"
    except ssl.SSLError as exc:
        reason = exc.reason or str(exc)
        if "ALERT" in reason:
            return f"{_why_refused(settings)} ({reason})"
        if exc.library in ("PEM", "X509"):
            return f"EDGE_TLS_CA, EDGE_TLS_CERT or EDGE_TLS_KEY cannot be used: {reason}"
        speaks_none = f"it speaks no TLS ({reason}); unset EDGE_TLS_CA, or set its CLOUD_TLS_CERT"
        return speaks_none if settings.tls_ca else None
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


def _why_refused(settings: EdgeSettings) -> str:
    """The cloud has looked at the certificate of this camera, and ended."""
    if settings.tls_cert is None:
        return "it asks for a certificate of this camera; set EDGE_TLS_CERT and EDGE_TLS_KEY"
    return (
        f"it refuses EDGE_TLS_CERT ({settings.tls_cert}): renew it if it has expired, or have it "
        "signed by the CA of the cloud's CLOUD_CAMERA_CA"
    )
