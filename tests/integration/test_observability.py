"""Board and alerts ask for metrics and labels that a real scrape has; every metric moves."""

from __future__ import annotations

import asyncio
import urllib.request
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from prometheus_client.parser import text_string_to_metric_families

from slimcli.app import run
from slimwire.v1 import ingest_pb2 as pb
from support.cloud.board import BOARD, RULES, alert_expressions, board_expressions, exposed_metrics
from support.cloud.moved_metrics import moved_cloud, sums
from support.cloud.whole_cloud import ToyCamera, ToyModels, cloud_settings, open_cloud

TARGET_LABELS = {"job", "instance"}  # Prometheus adds them to every series


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
    with exposed_metrics() as targets:
        scrapes = [_scrape(f"http://{target}/metrics") for target in targets.values()]
    return {name: labels for scrape in scrapes for name, labels in scrape.items()} | {
        "up": set(TARGET_LABELS)
    }


def test_every_metric_of_the_cloud_moves() -> None:
    metrics, before = moved_cloud()

    after = sums(metrics.registry)

    assert {name for name, value in after.items() if value == before.get(name, 0.0)} == set()


@pytest.mark.parametrize(("where", "expression"), [*board_expressions(), *alert_expressions()])
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
