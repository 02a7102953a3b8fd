"""Pages of a list that is not indexed by what is asked for: records are looked at in order, so many
at most a page.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

_MAX_LOOKED_AT = 2000  # records per page: bounds the work that one call can ask for

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class Page(Generic[Record]):
    """Newest first.

    A page may be short, even empty, and still have a `next_cursor`: go on until it is None.
    """

    records: Sequence[Record]
    next_cursor: str | None


async def page_of(
    records: AsyncIterator[tuple[str, Record]], matches: Callable[[Record], bool], limit: int
) -> Page[Record]:
    """The first at most `limit` (1 or more) records that match.

    Args:
        records: each with the cursor from which the list goes on after it.
    """
    found: list[Record] = []
    looked_at = 0
    async for cursor, record in records:
        looked_at += 1
        if matches(record):
            found.append(record)
        if len(found) == limit or looked_at == _MAX_LOOKED_AT:
            return Page(found, cursor)
    return Page(found, None)
