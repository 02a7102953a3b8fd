"""`slimwire certs` and `slimwire token`."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from slimcli.exits import ExitCode
from slimcloud.roles import AccessRole
from slimcloud.tokens import Identity, TokenTable
from support.command import Slimwire


def _load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_certificates_are_signed_for_the_names_that_were_given(
    slimwire: Slimwire, tmp_path: Path
) -> None:
    folder = tmp_path / "certs"

    assert slimwire("certs", folder, "--cloud", "cloud.example", "--camera", "gate").code == 0

    verifier = PolicyBuilder().store(Store([_load(folder / "ca.pem")]))
    cloud = verifier.build_server_verifier(x509.DNSName("cloud.example"))
    assert cloud.verify(_load(folder / "cloud.pem"), [])
    camera = _load(folder / "camera-gate.pem")
    assert verifier.build_client_verifier().verify(camera, []).chain[0] == camera
    names = camera.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [name.value for name in names] == ["slimwire://camera/gate"]
    for key in folder.glob("*-key.pem"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_second_call_signs_more_with_the_same_authority(
    slimwire: Slimwire, tmp_path: Path
) -> None:
    slimwire("certs", tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    assert slimwire("certs", tmp_path, "--camera", "yard").code == 0

    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert after.keys() - before.keys() == {"camera-yard.pem", "camera-yard-key.pem"}
    assert before.items() <= after.items()
    _load(tmp_path / "camera-yard.pem").verify_directly_issued_by(_load(tmp_path / "ca.pem"))


def test_nothing_is_overwritten_unasked(slimwire: Slimwire, tmp_path: Path) -> None:
    slimwire("certs", tmp_path, "--camera", "gate")
    before = (tmp_path / "camera-gate.pem").read_bytes()

    assert slimwire("certs", tmp_path, "--camera", "gate").code == ExitCode.CANNOT_CREATE
    assert slimwire("certs", tmp_path).code == ExitCode.USAGE
    assert (tmp_path / "camera-gate.pem").read_bytes() == before


@pytest.mark.parametrize(
    "option", [("--camera", "a b"), ("--camera", "../gate"), ("--cloud", "münchen.example")]
)
def test_certificate_for_an_impossible_name_is_refused(
    slimwire: Slimwire, tmp_path: Path, option: tuple[str, str]
) -> None:
    done = slimwire("certs", tmp_path / "certs", *option)

    assert done.code == ExitCode.USAGE
    assert option[1] in done.err
    assert not (tmp_path / "certs").exists()


def test_token_is_the_one_that_its_line_lets_in(slimwire: Slimwire) -> None:
    done = slimwire("token", "reviewer", "anna")

    assert done.code == ExitCode.OK
    found = TokenTable.parse(done.err).find(done.out.strip())
    assert found == Identity("anna", AccessRole.REVIEWER)
    assert done.out.strip() not in done.err


@pytest.mark.parametrize("name", ["the gate", "", "gate/1"])
def test_token_for_an_impossible_name_is_refused(slimwire: Slimwire, name: str) -> None:
    assert slimwire("token", "camera", name).code == ExitCode.USAGE
