"""The cloud's wall clock: microseconds since 1970, and what the API shows of them."""

import time
from datetime import UTC, datetime, timedelta

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def unix_us() -> int:
    """The time now, microseconds since 1970."""
    return time.time_ns() // 1000


def unix_us_of(moment: datetime) -> int:
    """Microseconds since 1970 of an aware time."""
    return (moment - _UNIX_EPOCH) // timedelta(microseconds=1)


def time_of(time_unix_us: int) -> datetime:
    """A time in microseconds since 1970 as an aware `datetime`."""
    try:
        return _UNIX_EPOCH + timedelta(microseconds=time_unix_us)
    except OverflowError:  # a clock or query of others: it must not take its whole page down
        return (datetime.max if time_unix_us > 0 else datetime.min).replace(tzinfo=UTC)
