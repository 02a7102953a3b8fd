"""`slimwire certs`: a certificate authority for development, and what it signs.

For a deployment use the authority that you have; the names below are all that Slimwire asks for.

    DIR/ca.pem, ca-key.pem                  the authority; made once, used again
    DIR/cloud.pem, cloud-key.pem            for CLOUD_TLS_CERT, CLOUD_TLS_KEY
    DIR/camera-<id>.pem, camera-<id>-key.pem   for EDGE_TLS_CERT, EDGE_TLS_KEY
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slimcli.exits import BadUsageError
from slimcli.extras import needs_extra
from slimcli.options import Force
from slimcli.output import refuse_existing, say

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


def register(app: typer.Typer) -> None:
    app.command()(certs)


def certs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go.")],
    cloud: Annotated[
        list[str] | None,
        typer.Option(help="Host name or address of the cloud, besides localhost; repeatable."),
    ] = None,
    camera: Annotated[
        list[str] | None, typer.Option(help="Id of a camera that gets a certificate; repeatable.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=825, help="For which they are valid.")] = 365,
    force: Force = False,
) -> None:
    """Make a development CA and certificates that it signs."""
    with needs_extra("certs", "certs"):
        from cryptography import x509

        from slimcloud.frame_id import CAMERA_ID_PATTERN
        from slimcloud.ingest.auth import CAMERA_URI
    for name in camera or ():
        if not re.fullmatch(CAMERA_ID_PATTERN, name):
            raise BadUsageError(
                f"--camera {name!r}: expected an id of the form {CAMERA_ID_PATTERN}"
            )
    if not cloud and not camera and (folder / "ca.pem").exists():
        raise BadUsageError(f"{folder} has a CA already; give a --camera or a --cloud to sign")
    leaves: dict[str, list[x509.GeneralName]] = {
        f"camera-{name}": [x509.UniformResourceIdentifier(f"{CAMERA_URI}{name}")]
        for name in camera or ()
    }
    if cloud or not (folder / "cloud.pem").exists():
        leaves["cloud"] = [_host(name) for name in dict.fromkeys([*LOCAL_NAMES, *(cloud or ())])]
    folder.mkdir(parents=True, exist_ok=True)
    for stem in leaves:
        refuse_existing(folder / f"{stem}.pem", force=force)
    authority = _open_authority(folder, days)
    for stem, names in leaves.items():
        _write(folder, stem, _sign(stem, days, names, authority))
        say(f"{folder / stem}.pem: {', '.join(str(name.value) for name in names)}")


@dataclass(frozen=True, slots=True)
class _Signed:
    certificate: x509.Certificate
    key: EllipticCurvePrivateKey


def _host(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name)
    except ValueError as exc:
        raise BadUsageError(f"--cloud {name!r}: write it in ASCII, as DNS has it") from exc


def _open_authority(folder: Path, days: int) -> _Signed:
    """The authority of the folder, made if there is none."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if not (folder / "ca.pem").exists():
        authority = _sign("Slimwire development CA", days, [], None)
        _write(folder, "ca", authority)
        return authority
    key = load_pem_private_key((folder / "ca-key.pem").read_bytes(), None)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise BadUsageError(f"{folder}/ca-key.pem is not of a CA that this command has made")
    return _Signed(x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes()), key)


def _sign(
    common_name: str, days: int, names: list[x509.GeneralName], authority: _Signed | None
) -> _Signed:
    """A new key and its certificate: of an authority itself when there is none to sign it."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])
    signer = key if authority is None else authority.key
    issuer = subject if authority is None else authority.certificate.subject
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))  # clocks differ
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(authority is None, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if authority is None:
        builder = builder.add_extension(_signs_certificates(), critical=True)
    else:
        is_cloud = any(not isinstance(name, x509.UniformResourceIdentifier) for name in names)
        use = ExtendedKeyUsageOID.SERVER_AUTH if is_cloud else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return _Signed(builder.sign(signer, SHA256()), key)


def _signs_certificates() -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        key_cert_sign=True,
        crl_sign=True,
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write(folder: Path, stem: str, signed: _Signed) -> None:
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    key = signed.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = folder / f"{stem}-key.pem"
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key)
    (folder / f"{stem}.pem").write_bytes(signed.certificate.public_bytes(Encoding.PEM))
