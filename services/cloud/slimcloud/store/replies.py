"""Redis' replies as plain types: the client's own are unions over protocols and decodings."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import cast

from redis.exceptions import OutOfMemoryError, ResponseError

from slimcloud.errors import StoreFullError

StreamEntry = tuple[str, dict[str, str]]


def text(value: object) -> str:
    """A reply that is one string; empty when there is none."""
    if isinstance(value, bytes):
        return value.decode()
    return "" if value is None else str(value)


@contextmanager
def full_memory_is_store_full() -> Iterator[None]:
    """Turns Redis' refusal for want of memory into `StoreFullError`."""
    try:
        yield
    except ResponseError as exc:
        # Redis 6 says so within the text of a script's error, later ones by its class.
        if not isinstance(exc, OutOfMemoryError) and "OOM " not in str(exc):
            raise
        raise StoreFullError(
            "Redis is out of memory; raise its maxmemory or lower max_stored_bytes"
        ) from exc


def fields_of(reply: object) -> dict[str, str]:
    """A hash, or the fields of a stream entry."""
    mapping = cast("Mapping[object, object]", reply or {})
    return {text(name): text(value) for name, value in mapping.items()}


def stream_entries(reply: object) -> list[StreamEntry]:
    """Entries `(id, fields)` of one stream; those that were trimmed away are left out."""
    pairs = cast("Iterable[tuple[object, object]]", reply or ())
    return [(text(entry_id), fields_of(fields)) for entry_id, fields in pairs if fields is not None]


def scored_members(reply: object) -> list[tuple[int, str]]:
    """Members of a sorted set with their scores, `(score, member)`."""
    pairs = cast("Iterable[tuple[object, float]]", reply)
    return [(int(score), text(member)) for member, score in pairs]
