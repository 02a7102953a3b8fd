from __future__ import annotations

import ast
import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from slimops.logs import LOG_FIELDS, JsonFormatter, LogFormat, TextFormatter, configure_logging


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
        "lit\n%d times", 3, extra={"camera_id": "gate", "seconds": 12, "pixels": "never"}
    )

    (line,) = stream.getvalue().splitlines()
    fields = json.loads(line)
    assert fields["message"] == "lit\n3 times"
    assert fields["logger"] == "lamp"
    assert fields["level"] == "INFO"
    assert fields["camera_id"] == "gate"
    assert fields["seconds"] == 12
    assert "pixels" not in fields
    assert fields["time"].endswith("Z")


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("restored_root")
@pytest.mark.parametrize(
    ("stream", "form", "is_json"),
    [
        (io.StringIO(), "auto", True),
        (_Terminal(), "auto", False),
        (_Terminal(), "json", True),
        (io.StringIO(), "text", False),
    ],
)
def test_people_at_a_terminal_read_text(
    stream: io.StringIO, form: LogFormat, is_json: bool
) -> None:
    configure_logging("INFO", stream, form)

    logging.getLogger("lamp").info("lit", extra={"camera_id": "gate", "pixels": "never"})
    logging.getLogger("lamp").warning("dim")

    lit, dim = stream.getvalue().splitlines()
    assert lit.startswith("{") == dim.startswith("{") == is_json
    if not is_json:
        assert re.fullmatch(r"\d\d:\d\d:\d\d  lit  camera_id=gate", lit)
        assert re.fullmatch(r"\d\d:\d\d:\d\d  WARNING  dim", dim)


def test_exception_is_written_into_its_line() -> None:
    try:
        raise ValueError("broken")
    except ValueError as exc:
        record = logging.LogRecord(
            "lamp", logging.ERROR, "", 0, "failed", None, (type(exc), exc, exc.__traceback__)
        )

    assert "ValueError: broken" in json.loads(JsonFormatter().format(record))["exception"]
    assert TextFormatter().format(record).endswith("ValueError: broken")


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
