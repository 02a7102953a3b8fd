"""Logs with a fixed set of fields, configured once, where a process begins: for machines or people.

json   {"time": "2026-01-02T03:04:05.678901Z", "level": "INFO", "logger": "slimcloud.app",
        "message": "ready", "camera_id": "gate-1", "seconds": 0.3}
text   03:04:05  ready  camera_id=gate-1 seconds=0.3
"""

import datetime
import json
import logging
import sys
from contextvars import ContextVar
from typing import Literal, TextIO, TypeAlias

LogFormat: TypeAlias = Literal["auto", "json", "text"]  # auto: text on a terminal, JSON elsewhere

# Whose every line is that does not say it, where a process has several; of a task or a thread.
LOG_CAMERA: ContextVar[str | None] = ContextVar("LOG_CAMERA", default=None)
LOG_FIELDS = ("frame_id", "camera_id", "width_level", "seconds", "reason", "trace_id")


class JsonFormatter(logging.Formatter):
    """One JSON object per record; of the record's extras only `LOG_FIELDS` are written."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= _fields(record)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """A line for a person: local time, level where it is not INFO, message, fields."""

    def format(self, record: logging.LogRecord) -> str:
        level = [] if record.levelno == logging.INFO else [record.levelname]
        fields = " ".join(f"{name}={value}" for name, value in _fields(record).items())
        time = self.formatTime(record, "%H:%M:%S")
        line = "  ".join(filter(None, [time, *level, record.getMessage(), fields]))
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _fields(record: logging.LogRecord) -> dict[str, int | float | str]:
    given = {field: getattr(record, field, None) for field in LOG_FIELDS}
    given["camera_id"] = given["camera_id"] or LOG_CAMERA.get()
    return {
        field: value if isinstance(value, int | float) else str(value)
        for field, value in given.items()
        if value is not None
    }


def configure_logging(
    level: str = "INFO", stream: TextIO | None = None, form: LogFormat = "auto"
) -> None:
    """Send every log record of this process, and warnings, to `stream` (stderr), a line each."""
    stream = sys.stderr if stream is None else stream
    is_text = form == "text" or (form == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter() if is_text else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
