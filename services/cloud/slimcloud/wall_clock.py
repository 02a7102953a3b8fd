"""The cloud's wall clock: microseconds since 1970, and what the API shows of them."""

import time
from datetime import UTC, datetime, timedelta

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_UNIX_US, _LAST_UNIX_US = (
    (end.replace(tzinfo=UTC) - _UNIX_EPOCH) // timedelta(microseconds=1)
    for end in (datetime.min, datetime.max)
)


def unix_us() -> int:
    """The time now, microseconds since 1970."""
    return time.time_ns() // 1000


def unix_us_of(moment: datetime) -> int:
    """Microseconds since 1970 of an aware time."""
    return (moment - _UNIX_EPOCH) // timedelta(microseconds=1)


def time_of(time_unix_us: int) -> datetime:
    """A time in microseconds since 1970 as an aware `datetime`."""
    # Clocks and queries of others: a time beyond the calendar must not take its whole page down.
    within = max(_FIRST_UNIX_US, min(time_unix_us, _LAST_UNIX_US))
    return _UNIX_EPOCH + timedelta(microseconds=within)
