"""Beyond loopback a cloud listens with TLS and with proofs of identity, unless told otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from slimcloud.settings import CloudSettings
from slimcloud.tokens import token_digest

CAMERA = f"camera gate {token_digest('c')}"
PERSON = f"viewer wall {token_digest('p')}"
REDIS = {"redis_url": "redis://127.0.0.1/0"}


@pytest.fixture
def tls(tmp_path: Path) -> dict[str, Any]:
    for name in ("cert.pem", "key.pem", "ca.pem"):
        (tmp_path / name).touch()
    return {"tls_cert": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}


def _refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        CloudSettings.model_validate(values)


@pytest.mark.parametrize(
    ("role", "host"), [("ingest", "grpc_host"), ("review", "http_host"), ("all", "grpc_host")]
)
def test_plaintext_beyond_loopback_is_refused_unless_told(role: str, host: str) -> None:
    values = {**REDIS, "role": role, host: "0.0.0.0", "tokens": f"{CAMERA}\n{PERSON}"}

    _refused(values, f"{host} 0.0.0.0 is beyond loopback and tls_cert is not set")

    CloudSettings.model_validate({**values, "allow_plaintext": True})


@pytest.mark.parametrize(
    ("role", "host", "others"), [("ingest", "grpc_host", PERSON), ("review", "http_host", CAMERA)]
)
def test_listening_to_anyone_beyond_loopback_is_refused_unless_told(
    role: str, host: str, others: str, tls: dict[str, Any]
) -> None:
    values = {**REDIS, **tls, "role": role, host: "::", "tokens": others}

    _refused(values, f"{host} :: is beyond loopback and nobody has to prove")

    CloudSettings.model_validate({**values, "allow_anonymous": True})
    CloudSettings.model_validate({**values, "tokens": f"{CAMERA}\n{PERSON}"})


def test_an_admin_who_can_make_tokens_for_cameras_is_proof_enough(tls: dict[str, Any]) -> None:
    boss = f"admin boss {token_digest('b')}"
    values = {**REDIS, **tls, "role": "ingest", "tokens": boss}

    assert CloudSettings.model_validate({**values, "grpc_host": "::"}).asks_for_camera_tokens
    for openly in ({}, {"grpc_host": "::", "allow_anonymous": True}):
        settings = CloudSettings.model_validate({**values, **openly})
        assert not settings.asks_for_camera_tokens


def test_sign_on_at_a_proxy_is_proof_and_needs_to_know_the_proxy(tls: dict[str, Any]) -> None:
    values = {**REDIS, **tls, "role": "review", "http_host": "::", "sign_on_header": "X-User"}

    for proxies in ({}, {"trusted_proxies": "10.0.0.2, *"}):
        _refused({**values, **proxies}, "sign_on_header needs the addresses of its proxies")

    CloudSettings.model_validate({**values, "trusted_proxies": "10.0.0.2"})


def test_certificates_of_cameras_are_proof_enough(tls: dict[str, Any], tmp_path: Path) -> None:
    CloudSettings.model_validate(
        {
            **REDIS,
            **tls,
            "role": "ingest",
            "grpc_host": "0.0.0.0",
            "camera_ca": tmp_path / "ca.pem",
        }
    )


def test_address_of_a_role_that_does_not_run_is_of_no_matter() -> None:
    CloudSettings.model_validate({**REDIS, "role": "detect", "grpc_host": "0.0.0.0"})


def test_half_a_certificate_is_refused(tls: dict[str, Any], tmp_path: Path) -> None:
    _refused({"tls_key": tls["tls_key"]}, "tls_cert and tls_key go together")
    _refused({"camera_ca": tmp_path / "ca.pem"}, "camera_ca needs tls_cert")


def test_wrong_token_table_is_refused_without_showing_it() -> None:
    with pytest.raises(ValidationError, match="tokens, line 1") as caught:
        CloudSettings.model_validate({"tokens": "viewer wall hunter2"})

    assert "hunter2" not in str(caught.value)
    assert token_digest("p") not in repr(CloudSettings.model_validate({"tokens": PERSON}))
