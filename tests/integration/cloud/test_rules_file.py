"""What the operator's file says of cameras counts when the cloud is ready, and as it changes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from slimcloud.settings import CloudSettings
from slimcloud.zones.rules import CameraRules, Retain
from slimops.errors import SettingsError
from slimops.settings import load_settings
from support.cloud.whole_cloud import ToyModels, cloud_settings, open_cloud


@pytest.fixture(scope="module")
def toy_models(tmp_path_factory: pytest.TempPathFactory) -> ToyModels:
    return ToyModels(tmp_path_factory.mktemp("models"))


async def test_file_is_taken_at_the_start_and_followed(
    redis_url: str, toy_models: ToyModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slimcloud.followed_file._LOOK_SECONDS", 0.01)
    path = tmp_path / "rules.yml"
    path.write_text("gate: {retain: {alert_days: 1}}")
    settings = cloud_settings(toy_models, redis_url, role="ingest")
    settings = load_settings(
        CloudSettings,
        {name: getattr(settings, name) for name in settings.model_fields_set},
        environ={"CLOUD_RULES_FILE": str(path)},
    )

    async with open_cloud(settings) as cloud:
        first = await cloud.store.rules.get("gate")
        path.write_text("gate: {retain: {alert_days: 2}}")
        while (changed := await cloud.store.rules.get("gate")) == first:
            await asyncio.sleep(0.01)

    assert first.rules == CameraRules(retain=Retain(alert_days=1))
    assert (changed.rules.retain.alert_days, changed.version) == (2, 2)


async def test_label_that_the_detector_lacks_stops_the_start(
    redis_url: str, toy_models: ToyModels
) -> None:
    rules = "gate: {report: {labels: [zebra crossing]}}"
    settings = cloud_settings(toy_models, redis_url, role="ingest", rules=rules)

    with pytest.raises(SettingsError, match=r"CLOUD_RULES.*gate: the detector has no label"):
        async with open_cloud(settings):
            pass
