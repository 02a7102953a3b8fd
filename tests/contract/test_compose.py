"""docker-compose.yml: every container is hardened, and every setting in it exists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from slimcloud.settings import CloudSettings
from slimedge.settings import EdgeSettings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_hardened(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert {"mem_limit", "healthcheck", "tmpfs", "stop_grace_period"} <= set(service)
    assert not service.get("privileged", False)


def test_redis_is_on_an_internal_network_and_publishes_nothing() -> None:
    redis = SERVICES["redis"]

    assert "ports" not in redis
    assert all(COMPOSE["networks"][network].get("internal") for network in redis["networks"])


def test_ports_are_published_on_loopback_unless_told_otherwise() -> None:
    for port in SERVICES["cloud"]["ports"]:
        assert port.startswith("${SLIMWIRE_PUBLISH_ADDRESS:-127.0.0.1}:")


@pytest.mark.parametrize(
    ("service", "prefix", "settings"),
    [("cloud", "CLOUD_", CloudSettings), ("edge", "EDGE_", EdgeSettings)],
)
def test_every_variable_is_a_setting(
    service: str, prefix: str, settings: type[CloudSettings | EdgeSettings]
) -> None:
    for variable in SERVICES[service]["environment"]:
        assert variable.removeprefix(prefix).lower() in settings.model_fields, variable


def test_images_run_as_an_unprivileged_user() -> None:
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")

    assert "USER slimwire" in dockerfile.split("AS service")[1].split("FROM")[0]
    assert SERVICES["redis"]["user"] == "redis"
