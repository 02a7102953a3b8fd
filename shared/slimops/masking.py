"""Passwords stay out of logs, probes and what `slimwire config show` prints."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["MASK", "without_passwords"]

MASK: Final = "********"
_PASSWORD: Final = re.compile(r"(?<=://)([^/:@\s]*):[^/@\s]+@")  # of a URL


def without_passwords(text: str) -> str:
    """`text` with the password of every URL in it masked."""
    return _PASSWORD.sub(rf"\1:{MASK}@", text)
