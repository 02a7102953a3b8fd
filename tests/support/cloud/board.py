"""What board and alerts ask for, and processes' metrics in which everything has happened once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import start_http_server

from slimedge.watch.metrics import MetricsObserver
from slimops.metrics import Metrics, join_by
from support.cloud.moved_metrics import moved_cloud
from unit.slimedge.watch.test_metrics import EVENTS_AND_SAMPLES

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
BOARD: dict[str, Any] = json.loads((DEPLOY / "grafana/dashboards/slimwire.json").read_text())
RULES: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text())
_VARIABLE = re.compile(r"\$__rate_interval")


def board_expressions() -> list[tuple[str, str]]:
    """Each panel's title with one of its expressions, Grafana's variable filled in."""
    return [
        (panel["title"], _VARIABLE.sub("1m", target["expr"]))
        for panel in BOARD["panels"]
        for target in panel.get("targets", ())
    ]


def alert_expressions() -> list[tuple[str, str]]:
    """Each alert's name with its expression."""
    return [(rule["alert"], rule["expr"]) for group in RULES["groups"] for rule in group["rules"]]


@contextmanager
def exposed_metrics() -> Iterator[dict[str, str]]:
    """`host:port` of a cloud's and an edge's metrics over HTTP, by job."""
    cloud, _ = moved_cloud()
    edge = Metrics("edge")
    observer = MetricsObserver(edge, lambda: 1.0, lambda: 1.0, lambda: 1.0)
    for event, _ in EVENTS_AND_SAMPLES:
        observer.notify(event)
    servers = {
        "cloud": start_http_server(0, "127.0.0.1", cloud.registry),
        "edge": start_http_server(0, "127.0.0.1", join_by("camera", {"gate": edge})),
    }
    try:
        yield {job: f"127.0.0.1:{server.server_port}" for job, (server, _) in servers.items()}
    finally:
        for server, thread in servers.values():
            server.shutdown()
            server.server_close()
            thread.join()
