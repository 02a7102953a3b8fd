"""Real edges' channels against a real ingest server: tokens and certificates of cameras."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from slimcli.app import run
from slimcloud.settings import CloudSettings
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


async def _welcomed(cloud: EdgeSettings, models: ToyModels, camera_id: str = "gate") -> bool:
    hello = pb.Hello(
        camera_id=camera_id,
        epoch=EPOCH,
        model_name="toy/1",
        model_fingerprint=models.artifact.fingerprint,
    )
    async with connect(cloud, pb.StreamFramesRequest(hello=hello)) as connection:
        return connection.welcome.credit_bytes > 0


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


async def test_camera_with_its_certificate_is_taken_and_others_are_not(
    redis_url: str, toy_models: ToyModels, certificates: Path
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
        for stranger in (_camera(address), _camera(address, tls_ca=ca)):
            with pytest.raises(DisconnectedError):
                await _welcomed(stranger, toy_models)


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
