"""Logs as JSON lines with a fixed set of fields, configured once, in a `__main__`.

{"time": "2026-01-02T03:04:05.678901Z", "level": "INFO", "logger": "slimcloud.app",
 "message": "ready", "camera_id": "gate-1", "seconds": 0.3}
"""

from __future__ import annotations

import datetime
import json
import logging
import sys
from typing import TextIO

LOG_FIELDS = (
    "frame_id",
    "camera_id",
    "width_level",
    "stage",
    "seconds",
    "bytes",
    "reason",
    "trace_id",
)


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
        for field in LOG_FIELDS:
            value = getattr(record, field, None)
            if value is not None:
                line[field] = value if isinstance(value, int | float) else str(value)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure_logging(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send every log record of this process, and warnings, to `stream` (stderr) as JSON lines."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
