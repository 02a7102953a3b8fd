"""Moments in a query, strictly as RFC 3339 writes them.

Without this a bare number would pass for seconds since 1970, and a slip for a frame's time.
"""

import re
from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator

_RFC_3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)


def _require_rfc_3339(value: object) -> object:
    if isinstance(value, str) and not _RFC_3339.fullmatch(value):
        raise ValueError("expected a time as in RFC 3339, e.g. 2026-11-22T21:30:00Z")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_require_rfc_3339)]
