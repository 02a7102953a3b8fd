"""Prometheus itself reads the rules, scrapes a cloud and an edge, and answers the whole board."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from support.cloud.board import DEPLOY, RULES, alert_expressions, board_expressions, exposed_metrics

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="no Prometheus (Debian: apt install prometheus)",
)
PATIENCE_SECONDS = 60.0

Ask = Callable[..., Any]


@pytest.mark.parametrize(
    "check",
    [
        ("check", "rules", "rules.yml"),
        ("test", "rules", "rules_test.yml"),
        ("check", "config", "--syntax-only", "prometheus.yml"),
    ],
    ids="-".join,
)
def test_promtool_finds_nothing(check: tuple[str, ...]) -> None:
    done = subprocess.run(
        ["promtool", *check],
        cwd=DEPLOY / "prometheus",
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """The API of a Prometheus that has scraped and evaluated the rules a few times."""
    folder = tmp_path_factory.mktemp("prometheus")
    with exposed_metrics() as targets, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        config = _config(targets)
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=log,
                stderr=log,
            )
        try:

            def ask(path: str, **query: str) -> Any:
                url = f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
                with urllib.request.urlopen(url, timeout=10) as answer:
                    return json.load(answer)

            _until(lambda: _has_scraped_twice(ask, len(targets)))
            yield ask
        finally:
            process.terminate()
            process.wait()


def _config(targets: dict[str, str]) -> dict[str, Any]:
    """The one that is deployed, quicker, with targets that are here."""
    deployed: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    return {
        "global": dict.fromkeys(deployed["global"], "1s"),
        "rule_files": [str(DEPLOY / "prometheus/rules.yml")],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [target]}]}
            for job, target in targets.items()
        ],
    }


def _has_scraped_twice(ask: Ask, num_targets: int) -> bool:
    counted = ask("query", query="count_over_time(up[1m]) >= 3")["data"]["result"]
    rules = [rule for group in ask("rules")["data"]["groups"] for rule in group["rules"]]
    return len(counted) == num_targets and all(rule["health"] != "unknown" for rule in rules)


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            if holds():
                return
        except urllib.error.URLError:  # it has not begun to listen
            pass
        time.sleep(0.2)
    raise TimeoutError(f"Prometheus has scraped nothing in {PATIENCE_SECONDS} s")


def test_every_rule_is_evaluated_without_an_error(ask: Ask) -> None:
    rules = [rule for group in ask("rules")["data"]["groups"] for rule in group["rules"]]

    assert len(rules) == sum(len(group["rules"]) for group in RULES["groups"])
    assert {
        rule["name"]: rule.get("lastError", "") for rule in rules if rule["health"] != "ok"
    } == {}


@pytest.mark.parametrize(("panel", "expression"), board_expressions())
def test_panel_has_something_to_show(panel: str, expression: str, ask: Ask) -> None:
    answer = ask("query", query=expression)

    assert answer["status"] == "success"
    assert answer.get("warnings", []) == []
    assert answer["data"]["result"], panel


@pytest.mark.parametrize(("alert", "expression"), alert_expressions())
def test_alert_is_an_expression_that_prometheus_takes(
    alert: str, expression: str, ask: Ask
) -> None:
    answer = ask("query", query=expression)

    assert (answer["status"], answer.get("warnings", [])) == ("success", []), alert
