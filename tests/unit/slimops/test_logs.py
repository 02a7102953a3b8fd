from __future__ import annotations

import ast
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from slimops.logs import LOG_FIELDS, JsonFormatter, configure_logging


@pytest.fixture
def restored_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


@pytest.mark.usefixtures("restored_root")
def test_record_becomes_one_json_line_with_the_fixed_fields() -> None:
    stream = io.StringIO()
    configure_logging("DEBUG", stream)

    logging.getLogger("lamp").info(
        "lit\n%d times", 3, extra={"camera_id": "gate", "bytes": 12, "pixels": "never"}
    )

    (line,) = stream.getvalue().splitlines()
    fields = json.loads(line)
    assert fields["message"] == "lit\n3 times"
    assert fields["logger"] == "lamp"
    assert fields["level"] == "INFO"
    assert fields["camera_id"] == "gate"
    assert fields["bytes"] == 12
    assert "pixels" not in fields
    assert fields["time"].endswith("Z")


def test_exception_is_written_into_its_line() -> None:
    try:
        raise ValueError("broken")
    except ValueError as exc:
        record = logging.LogRecord(
            "lamp", logging.ERROR, "", 0, "failed", None, (type(exc), exc, exc.__traceback__)
        )

    assert "ValueError: broken" in json.loads(JsonFormatter().format(record))["exception"]


def test_every_field_that_the_services_log_is_a_fixed_one() -> None:
    root = Path(__file__).resolve().parents[3]
    named = {
        key.value
        for folder in ("services/edge", "services/cloud", "shared/slimops")
        for path in (root / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.keyword) and node.arg == "extra"
        if isinstance(node.value, ast.Dict)
        for key in node.value.keys
        if isinstance(key, ast.Constant)
    }

    assert "camera_id" in named
    assert named <= set(LOG_FIELDS)
