"""docker-compose.yml: every container is hardened, and every setting in it exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from slimcloud.settings import CloudSettings
from slimedge.settings import EdgeSettings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")
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
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]

    assert len(published) == 3
    for port in published:
        assert port.startswith("${SLIMWIRE_PUBLISH_ADDRESS:-127.0.0.1}:")


def test_services_wait_for_the_health_of_what_they_need() -> None:
    for name in ("cloud", "detect", "edge", "grafana"):
        for need in SERVICES[name]["depends_on"].values():
            assert need == {"condition": "service_healthy"}


def test_observability_is_a_profile_and_detect_is_scaled_by_hand() -> None:
    assert {name for name, service in SERVICES.items() if service.get("profiles")} == {
        "prometheus",
        "grafana",
    }
    assert SERVICES["detect"]["scale"] == 0


@pytest.mark.parametrize(
    ("service", "prefix", "settings"),
    [
        ("cloud", "CLOUD_", CloudSettings),
        ("detect", "CLOUD_", CloudSettings),
        ("edge", "EDGE_", EdgeSettings),
    ],
)
def test_every_variable_is_a_setting(
    service: str, prefix: str, settings: type[CloudSettings | EdgeSettings]
) -> None:
    given = {name: _by_default(v) for name, v in SERVICES[service]["environment"].items()}
    for variable in given:
        assert variable.removeprefix(prefix).lower() in settings.model_fields, variable

    said = {variable: value for variable, value in given.items() if value}  # empty: not set
    settings.model_validate({v.removeprefix(prefix).lower(): value for v, value in said.items()})


def test_the_camera_is_the_sample_unless_env_says_another() -> None:
    environment = SERVICES["edge"]["environment"]
    example = (ROOT / ".env.example").read_text(encoding="utf-8")

    assert _by_default(environment["EDGE_CAMERA_ID"]) == "street"
    assert _by_default(environment["EDGE_SOURCE"]).endswith("/samples/street.mp4")
    said = set(re.findall(r"^(\w+)=", example, re.MULTILINE))
    assert said == {_VARIABLE.match(environment[n])[1] for n in ("EDGE_CAMERA_ID", "EDGE_SOURCE")}  # type: ignore[index]  # both are variables


def _by_default(value: str) -> str:
    """What it is where no .env says otherwise."""
    return _VARIABLE.sub(r"\2", value)


def test_images_run_as_an_unprivileged_user() -> None:
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")

    assert "USER slimwire" in dockerfile.split("AS service")[1].split("FROM")[0]
    assert SERVICES["redis"]["user"] == "redis"
