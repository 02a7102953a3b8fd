"""Certificates for development: an authority, and what it signs. Needs the extra `certs`."""

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from slimcli.exits import BadUsageError


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key: `<stem>.pem` and `<stem>-key.pem` of a folder."""

    signed: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def read(cls, folder: Path, stem: str) -> Self:
        """Read both files.

        Raises:
            BadUsageError: the key is of another kind than `sign` makes.
        """
        key = load_pem_private_key((folder / f"{stem}-key.pem").read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise BadUsageError(f"{folder}/{stem}-key.pem is not of a CA that this command made")
        return cls(x509.load_pem_x509_certificate((folder / f"{stem}.pem").read_bytes()), key)

    def write(self, folder: Path, stem: str) -> None:
        """Write both files; the key is for its owner alone."""
        path = folder / f"{stem}-key.pem"
        path.unlink(missing_ok=True)
        path.touch(0o600, exist_ok=False)
        path.write_bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        (folder / f"{stem}.pem").write_bytes(self.signed.public_bytes(Encoding.PEM))


def sign(
    common_name: str, days: float, names: Sequence[x509.GeneralName], authority: Certificate | None
) -> Certificate:
    """A new key and its certificate: of an authority itself when there is none to sign it.

    It serves one purpose: a client's where all names are URIs, as a camera's is; else a server's.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])
    signer = key if authority is None else authority.key
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if authority is None else authority.signed.subject)
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
        builder = builder.add_extension(_SIGNS_CERTIFICATES, critical=True)
    else:
        is_camera = all(isinstance(name, x509.UniformResourceIdentifier) for name in names)
        use = ExtendedKeyUsageOID.CLIENT_AUTH if is_camera else ExtendedKeyUsageOID.SERVER_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Certificate(builder.sign(signer, SHA256()), key)


def host_name(name: str) -> x509.GeneralName:
    """The name of a host, or its address.

    Raises:
        BadUsageError: it is not ASCII.
    """
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name)
    except ValueError as exc:
        raise BadUsageError(f"--cloud {name!r}: write it in ASCII, as DNS has it") from exc


_SIGNS_CERTIFICATES = x509.KeyUsage(
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
