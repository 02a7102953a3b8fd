"""Real edges' channels against a real ingest server: tokens and certificates of cameras."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from redis.asyncio import Redis

from slimcli.app import run
from slimcli.run.certificate import Certificate, host_name, sign
from slimcloud.settings import CloudSettings
from slimcloud.store.frames import Store
from slimcloud.tokens import token_digest
from slimedge.errors import RefusedError
from slimedge.link.connection import DisconnectedError, connect
from slimedge.settings import EdgeSettings
from slimops.settings import load_settings
from slimwire.v1 import ingest_pb2 as pb
from support.cloud.whole_cloud import (
    EPOCH,
    RunningCloud,
    ToyCamera,
    ToyModels,
    cloud_settings,
    open_cloud,
)

GATE = x509.UniformResourceIdentifier("slimwire://camera/gate")
TOKEN = "the-token-of-the-gate"
BOSS = "the-token-of-the-boss"


@pytest.fixture(scope="module")
def toy_models(tmp_path_factory: pytest.TempPathFactory) -> ToyModels:
    return ToyModels(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certs")
    assert run(["certs", str(folder), "--camera", "gate", "--camera", "yard"]) == 0
    return folder


@asynccontextmanager
async def _cloud(
    models: ToyModels, redis_url: str, **settings: object
) -> AsyncIterator[RunningCloud]:
    async with open_cloud(cloud_settings(models, redis_url, role="ingest", **settings)) as cloud:
        yield cloud


def _camera(address: str, **more: object) -> EdgeSettings:
    return EdgeSettings.model_validate({"source": "none", "cloud_address": address, **more})


def _with(camera: EdgeSettings, **more: object) -> EdgeSettings:
    return camera.model_copy(update=more)


def _hello(models: ToyModels, camera_id: str = "gate") -> pb.StreamFramesRequest:
    hello = pb.Hello(
        camera_id=camera_id,
        epoch=EPOCH,
        model_name="toy/1",
        model_fingerprint=models.artifact.fingerprint,
    )
    return pb.StreamFramesRequest(hello=hello)


async def _welcomed(cloud: EdgeSettings, models: ToyModels, camera_id: str = "gate") -> bool:
    async with connect(cloud, _hello(models, camera_id)) as connection:
        return connection.welcome.credit_bytes > 0


async def _is_not_reached(cloud: EdgeSettings, models: ToyModels, why: str) -> None:
    with pytest.raises(DisconnectedError, match=f"cannot be reached: .*{why}"):
        await _welcomed(cloud, models)


async def test_camera_with_its_token_is_taken_and_others_are_not(
    redis_url: str, toy_models: ToyModels
) -> None:
    table = f"camera gate {token_digest(TOKEN)}\nadmin boss {token_digest(BOSS)}"
    async with _cloud(toy_models, redis_url, tokens=table) as cloud:
        address = cloud.grpc_address

        assert await _welcomed(_camera(address, token=TOKEN), toy_models)
        with pytest.raises(RefusedError, match="UNAUTHENTICATED"):
            await _welcomed(_camera(address), toy_models)
        with pytest.raises(RefusedError, match="UNAUTHENTICATED"):
            await _welcomed(_camera(address, token="a-token-of-nobody"), toy_models)
        with pytest.raises(RefusedError, match=r"PERMISSION_DENIED.*camera 'yard'"):
            await _welcomed(_camera(address, token=TOKEN), toy_models, "yard")
        with pytest.raises(RefusedError, match=r"PERMISSION_DENIED.*admin 'boss'"):
            await _welcomed(_camera(address, token=BOSS), toy_models)


async def test_stranger_is_refused_before_the_hello(redis_url: str, toy_models: ToyModels) -> None:
    table = f"camera gate {token_digest(TOKEN)}"
    async with (
        _cloud(toy_models, redis_url, tokens=table) as cloud,
        ToyCamera(cloud.grpc_address, toy_models) as camera,
    ):
        end = await camera.ended()  # and has not said a word

    assert end.status is grpc.StatusCode.UNAUTHENTICATED


async def test_token_that_is_taken_back_ends_its_stream(
    redis_url: str, toy_models: ToyModels, tmp_path: Path
) -> None:
    gate, yard = (f"camera {name} {token_digest(name)}\n" for name in ("gate", "yard"))
    (tmp_path / "tokens").write_text(gate + yard)
    settings = cloud_settings(toy_models, redis_url, role="ingest")
    settings = load_settings(
        CloudSettings,
        {name: getattr(settings, name) for name in settings.model_fields_set},
        environ={"CLOUD_TOKENS_FILE": str(tmp_path / "tokens")},
    )
    async with (
        open_cloud(settings) as cloud,
        ToyCamera(cloud.grpc_address, toy_models, token="gate") as kept,
        ToyCamera(cloud.grpc_address, toy_models, token="yard") as revoked,
    ):
        await kept.hello("gate")
        await revoked.hello("yard")

        (tmp_path / "tokens").write_text(gate)
        end = await revoked.ended()
        await kept.send(1)
        await kept.hear_stage(1, pb.STAGE_PERSISTED)

    assert end.status is grpc.StatusCode.UNAUTHENTICATED


async def test_token_that_an_admin_takes_back_ends_its_stream_for_good(
    redis_url: str, toy_models: ToyModels, client: Redis
) -> None:
    table = f"camera gate {token_digest(TOKEN)}"
    async with (
        _cloud(toy_models, redis_url, tokens=table) as cloud,
        ToyCamera(cloud.grpc_address, toy_models, token=TOKEN) as revoked,
    ):
        await revoked.hello("gate")
        await Store(client).cameras.set_token_digest("gate", "")
        end = await revoked.ended()
    async with _cloud(toy_models, redis_url, tokens=table) as cloud:  # and is not let in again
        with pytest.raises(RefusedError, match="UNAUTHENTICATED"):
            await _welcomed(_camera(cloud.grpc_address, token=TOKEN), toy_models)

    assert end.status is grpc.StatusCode.UNAUTHENTICATED


async def test_camera_with_its_certificate_is_taken_and_others_are_not(
    redis_url: str, toy_models: ToyModels, certificates: Path, tmp_path: Path
) -> None:
    folder = certificates
    ca = folder / "ca.pem"
    async with _cloud(
        toy_models,
        redis_url,
        tls_cert=folder / "cloud.pem",
        tls_key=folder / "cloud-key.pem",
        camera_ca=ca,
    ) as cloud:
        port = cloud.grpc_address.rpartition(":")[2]
        address = f"localhost:{port}"
        gate = _camera(
            address,
            tls_ca=ca,
            tls_cert=folder / "camera-gate.pem",
            tls_key=folder / "camera-gate-key.pem",
        )

        assert await _welcomed(gate, toy_models)
        with pytest.raises(RefusedError, match=r"PERMISSION_DENIED.*not that of camera 'yard'"):
            await _welcomed(gate, toy_models, "yard")
        await _is_not_reached(_camera(address), toy_models, "speaks TLS; set EDGE_TLS_CA")
        bare = _camera(address, tls_ca=ca)
        await _is_not_reached(bare, toy_models, "set EDGE_TLS_CERT and EDGE_TLS_KEY")
        foreign = tmp_path / "foreign"
        assert run(["certs", str(foreign), "--camera", "gate"]) == 0
        for stem, signer, days in (("foreign", foreign, 1.0), ("old", folder, -0.01)):
            made = sign("gate", days, [GATE], Certificate.read(signer, "ca"))
            made.write(tmp_path, stem)
        stranger = _with(
            gate, tls_cert=tmp_path / "foreign.pem", tls_key=tmp_path / "foreign-key.pem"
        )
        await _is_not_reached(stranger, toy_models, "EDGE_TLS_CERT.*signed by.*CLOUD_CAMERA_CA")
        late = _with(gate, tls_cert=tmp_path / "old.pem", tls_key=tmp_path / "old-key.pem")
        await _is_not_reached(late, toy_models, "EDGE_TLS_CERT .*renew it if it has expired")
        distrusting = _with(gate, tls_ca=foreign / "ca.pem")
        await _is_not_reached(distrusting, toy_models, r"issuer.*set EDGE_TLS_CA \(.*\) to the CA")
        mixed = _with(gate, tls_key=tmp_path / "old-key.pem")
        await _is_not_reached(mixed, toy_models, "EDGE_TLS_KEY cannot be used")


@pytest.mark.parametrize(
    ("names", "days", "told"),
    [
        (["localhost"], -0.01, "expired.*CLOUD_TLS_CERT"),
        (["elsewhere"], 1.0, "ostname mismatch.*EDGE_CLOUD_ADDRESS"),
    ],
)
async def test_a_wrong_certificate_of_the_cloud_is_named(
    redis_url: str,
    toy_models: ToyModels,
    certificates: Path,
    tmp_path: Path,
    names: list[str],
    days: float,
    told: str,
) -> None:
    ca = Certificate.read(certificates, "ca")
    sign("cloud", days, [host_name(name) for name in names], ca).write(tmp_path, "cloud")
    async with _cloud(
        toy_models,
        redis_url,
        tls_cert=tmp_path / "cloud.pem",
        tls_key=tmp_path / "cloud-key.pem",
    ) as cloud:
        port = cloud.grpc_address.rpartition(":")[2]
        camera = _camera(f"localhost:{port}", tls_ca=certificates / "ca.pem")

        await _is_not_reached(camera, toy_models, told)


async def test_tls_to_a_cloud_without_is_named(
    redis_url: str, toy_models: ToyModels, certificates: Path
) -> None:
    async with _cloud(toy_models, redis_url) as cloud:
        camera = _camera(cloud.grpc_address, tls_ca=certificates / "ca.pem")

        await _is_not_reached(camera, toy_models, "speaks no TLS.*unset EDGE_TLS_CA")


async def test_certificate_that_expires_ends_its_stream(
    redis_url: str, toy_models: ToyModels, certificates: Path, tmp_path: Path
) -> None:
    authority = Certificate.read(certificates, "ca")
    async with _cloud(
        toy_models,
        redis_url,
        tls_cert=certificates / "cloud.pem",
        tls_key=certificates / "cloud-key.pem",
        camera_ca=certificates / "ca.pem",
    ) as cloud:
        sign("gate", 8 / 86400, [GATE], authority).write(tmp_path, "gate")
        ends = time.time() + 8
        camera = _camera(
            f"localhost:{cloud.grpc_address.rpartition(':')[2]}",
            tls_ca=certificates / "ca.pem",
            tls_cert=tmp_path / "gate.pem",
            tls_key=tmp_path / "gate-key.pem",
        )
        async with connect(camera, _hello(toy_models)) as connection:
            with pytest.raises(DisconnectedError, match="UNAUTHENTICATED.*expired.*EDGE_TLS_CERT"):
                await connection.read()

        assert ends - 1.5 < time.time() < ends + 5
        sign("gate", 1, [GATE], authority).write(tmp_path, "gate")
        assert await _welcomed(camera, toy_models), "a renewed one is read by itself"


async def test_tls_without_certificates_of_cameras_takes_tokens(
    redis_url: str, toy_models: ToyModels, certificates: Path
) -> None:
    async with _cloud(
        toy_models,
        redis_url,
        tls_cert=certificates / "cloud.pem",
        tls_key=certificates / "cloud-key.pem",
        tokens=f"camera gate {token_digest(TOKEN)}",
    ) as cloud:
        ca = certificates / "ca.pem"

        assert await _welcomed(_camera(cloud.grpc_address, tls_ca=ca, token=TOKEN), toy_models)
        health = f"grpcs://{cloud.grpc_address}"
        assert await asyncio.to_thread(run, ["health", health, "--ca", str(ca)]) == 0


async def test_missing_certificate_is_a_broken_link_and_no_crash(tmp_path: Path) -> None:
    ca = tmp_path / "none.pem"
    ca.touch()
    camera = _camera("127.0.0.1:9", tls_ca=ca)
    ca.unlink()

    with pytest.raises(DisconnectedError, match=r"none\.pem"):
        async with connect(camera, pb.StreamFramesRequest()):
            pass
