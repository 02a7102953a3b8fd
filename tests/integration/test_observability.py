"""Board and alerts ask for metrics and labels that a real scrape has; every metric moves."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import start_http_server
from prometheus_client.parser import text_string_to_metric_families

from slimcli.app import run
from slimedge.health import Health, HealthServer
from slimedge.metrics import MetricsObserver
from slimops import Metrics
from slimwire.v1 import ingest_pb2 as pb
from support.cloud import ToyCamera, ToyModels, cloud_settings, open_cloud
from support.moved_metrics import moved_cloud, sums
from unit.slimedge.test_metrics import EVENTS_AND_SAMPLES

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
BOARD: dict[str, Any] = json.loads((DEPLOY / "grafana/dashboards/slimwire.json").read_text())
RULES: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text())

TARGET_LABELS = {"job", "instance"}  # Prometheus adds them to every series
_VARIABLE = re.compile(r"\$__rate_interval")


def _expressions() -> Iterator[tuple[str, str]]:
    for panel in BOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], _VARIABLE.sub("1m", target["expr"])
    for group in RULES["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def _scrape(url: str) -> dict[str, set[str]]:
    """Every series' name of an exposition, with the labels that it has."""
    with urllib.request.urlopen(url) as answer:
        text = answer.read().decode()
    series: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            series.setdefault(sample.name, set()).update(sample.labels)
    return series


@pytest.fixture(scope="module")
def series() -> dict[str, set[str]]:
    """The series of a cloud and of an edge in which everything has happened once, over HTTP."""
    cloud, _ = moved_cloud()
    edge = Metrics("edge")
    observer = MetricsObserver(edge, lambda: 1.0, lambda: 1.0)
    for event, _ in EVENTS_AND_SAMPLES:
        observer.notify(event)
    scraped, thread = start_http_server(0, "127.0.0.1", cloud.registry)
    server = HealthServer(Health(), edge.exposition, "127.0.0.1", 0)
    try:
        return {
            **_scrape(f"http://127.0.0.1:{scraped.server_port}/metrics"),
            **_scrape(f"http://127.0.0.1:{server.port}/metrics"),
            "up": set(TARGET_LABELS),
        }
    finally:
        scraped.shutdown()
        scraped.server_close()
        thread.join()
        server.close()


def test_every_metric_of_the_cloud_moves() -> None:
    metrics, before = moved_cloud()

    after = sums(metrics.registry)

    assert {name for name, value in after.items() if value == before.get(name, 0.0)} == set()


@pytest.mark.parametrize(("where", "expression"), list(_expressions()))
def test_expression_asks_for_series_and_labels_that_exist(
    where: str, expression: str, series: dict[str, set[str]]
) -> None:
    nodes: list[Any] = []
    promql_parser.walk(promql_parser.parse(expression), nodes.append)
    selectors = [n for n in nodes if isinstance(n, promql_parser.VectorSelector)]
    groupings = [n for n in nodes if isinstance(n, promql_parser.AggregateExpr)]

    assert selectors, where
    known: set[str] = set(TARGET_LABELS)
    for selector in selectors:
        assert selector.name in series, f"{where}: {selector.name} is in no scrape"
        known |= series[selector.name]
        labels = {matcher.name for matcher in selector.matchers.matchers}
        assert labels <= series[selector.name] | TARGET_LABELS, where
    for grouping in groupings:
        assert grouping.modifier is None or set(grouping.modifier.labels) <= known, where


def test_board_shows_what_it_is_about() -> None:
    panels = [panel for panel in BOARD["panels"] if panel["type"] != "row"]

    assert BOARD["uid"] == "slimwire"
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    assert all(panel["fieldConfig"]["defaults"]["unit"] for panel in panels)
    assert all(panel["description"] for panel in panels)


def test_every_alert_says_what_to_do() -> None:
    for group in RULES["groups"]:
        for rule in group["rules"]:
            assert {"summary", "action"} <= set(rule["annotations"]), rule["alert"]


async def test_scrape_of_a_working_cloud_has_what_the_board_shows(
    redis_url: str, tmp_path: Path, series: dict[str, set[str]]
) -> None:
    models = ToyModels(tmp_path)
    settings = cloud_settings(models, redis_url, metrics_port=0)
    async with open_cloud(settings) as cloud, ToyCamera(cloud.grpc_address, models) as camera:
        await camera.hello()
        container = await camera.send(1)
        await camera.hear_stage(1, pb.STAGE_DETECTED)
        await camera.send(1, container)
        await camera.send(2, container[:-1])
        await camera.hear_nack(2)
        assert cloud.addresses.metrics is not None
        scraped = await asyncio.to_thread(_scrape, cloud.addresses.metrics)
        ready = cloud.addresses.metrics.replace("/metrics", "/readyz")
        assert await asyncio.to_thread(run, ["health", ready]) == 0

    named = {name for name in series if name.startswith("slim_cloud_")}
    assert named - set(scraped) <= {n for n in named if series[n]}  # only labels wait to be seen
    assert {"width_level"} == scraped["slim_cloud_frames_total"]
    assert {"reason"} == scraped["slim_cloud_frames_refused_total"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool (Debian: prometheus)")
@pytest.mark.parametrize(
    "check", [("check", "rules", "rules.yml"), ("test", "rules", "rules_test.yml")]
)
def test_prometheus_reads_the_rules_and_they_fire(check: tuple[str, str, str]) -> None:
    done = subprocess.run(
        ["promtool", *check],
        cwd=DEPLOY / "prometheus",
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
