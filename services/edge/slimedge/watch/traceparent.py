"""The name under which one frame's way is traced, from capture to detection.

Source: W3C Trace Context, version 00, https://www.w3.org/TR/trace-context/#traceparent-header
"""

from __future__ import annotations

import secrets

_SAMPLED = "01"  # whoever collects traces may keep this one


def make_traceparent() -> str:
    """Begin a trace: 00-(trace, 16 bytes)-(span, 8 bytes)-(flags), in hexadecimal."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-{_SAMPLED}"
