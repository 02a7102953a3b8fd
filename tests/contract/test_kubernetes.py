"""deploy/kubernetes: valid by the schemas, hardened, probed, and made of settings that exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from slimcloud.settings import CloudSettings
from slimcloud.store.keys import WORK, WORK_BACKFILL
from slimcloud.tokens import token_digest
from slimops.settings import load_settings

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
KUBERNETES = "1.34"
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
RESOURCES: list[dict[str, Any]] = [
    resource
    for name in KUSTOMIZATION["resources"]
    for resource in yaml.safe_load_all((FOLDER / name).read_text())
]
WORKLOADS = [r for r in RESOURCES if r["kind"] in ("Deployment", "StatefulSet")]
ROLES = ("ingest", "detect", "review")


def _name(resource: dict[str, Any]) -> str:
    return f"{resource['kind']}/{resource['metadata']['name']}"


def _of(kind: str, name: str) -> dict[str, Any]:
    return next(r for r in RESOURCES if _name(r) == f"{kind}/{name}")


def _container(workload: dict[str, Any]) -> dict[str, Any]:
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    assert isinstance(container, dict)
    return container


@pytest.mark.parametrize(
    "resource", [r for r in RESOURCES if r["kind"] != "ScaledObject"], ids=_name
)
def test_resource_is_valid(resource: dict[str, Any]) -> None:
    kubernetes_validate.validate(resource, KUBERNETES, strict=True)


def test_schema_would_refuse_a_mistake() -> None:
    broken = {**_of("Deployment", "ingest"), "spec": {"replica": 2}}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, KUBERNETES, strict=True)


@pytest.mark.parametrize("workload", WORKLOADS, ids=_name)
def test_workload_is_hardened_probed_and_limited(workload: dict[str, Any]) -> None:
    pod = workload["spec"]["template"]["spec"]
    container = _container(workload)

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"readinessProbe", "livenessProbe"} <= set(container)
    assert {"cpu", "memory"} <= set(container["resources"]["requests"])
    assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("role", ROLES)
def test_role_would_start_with_its_settings(role: str, tmp_path: Path) -> None:
    container = _container(_of("Deployment", role))
    given = {variable["name"]: variable["value"] for variable in container.get("env", ())}
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    for name, path in given.items():
        if path.startswith("/"):
            assert str(Path(path).parent) in mounts, name
            file = tmp_path / Path(path).name
            file.write_text(f"viewer wall {token_digest('x')}\n")
            given[name] = str(file)

    settings = load_settings(
        CloudSettings, {"role": role}, environ=given, config=FOLDER / "slimwire.yaml"
    )

    assert container["args"] == [
        "cloud", "--role", role, "--config", "/etc/slimwire/slimwire.yaml"
    ]  # fmt: skip
    assert not settings.allow_plaintext
    assert not settings.allow_anonymous
    grace = _of("Deployment", role)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert settings.stop_seconds + 5 <= grace


@pytest.mark.parametrize("role", ROLES)
def test_disruption_budget_selects_the_role(role: str) -> None:
    budget = _of("PodDisruptionBudget", role)["spec"]

    assert budget["selector"] == _of("Deployment", role)["spec"]["selector"]
    assert budget.get("minAvailable", 0) < 2


def test_keda_scales_detect_by_the_streams_that_the_store_uses() -> None:
    scaled = _of("ScaledObject", "detect")["spec"]

    assert scaled["scaleTargetRef"] == {"name": "detect"}
    assert "replicas" not in _of("Deployment", "detect")["spec"]
    assert {trigger["type"] for trigger in scaled["triggers"]} == {"redis-streams"}
    assert [trigger["metadata"]["stream"] for trigger in scaled["triggers"]] == [
        WORK,
        WORK_BACKFILL,
    ]
    for trigger in scaled["triggers"]:
        assert int(trigger["metadata"]["streamLength"]) > 0
        assert {"lagCount", "consumerGroup"}.isdisjoint(trigger["metadata"])  # see the manifest
