"""Passwords stay out of logs, probes and what `slimwire config show` prints."""

from __future__ import annotations

import re

MASK = "********"
_PASSWORD = re.compile(r"(?<=://)([^/:@\s]*):[^/\s]+@")  # to the last @ before the path
# Of a query; some cameras have it so: rtsp://camera/?user=a&password=b
_QUERY = re.compile(r"(?i)(?<=[?&/_;])((?:password|passwd|pwd|token)=)[^&\s'\"]+")


def without_passwords(text: str) -> str:
    """`text` with the password of every URL in it masked."""
    return _QUERY.sub(rf"\1{MASK}", _PASSWORD.sub(rf"\1:{MASK}@", text))
