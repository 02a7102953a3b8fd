"""Events by their begin: pages, newest first, and how many there are of what; and the step by which
`slimcloud.event_runner` stores them.

One script stores how far the feed was read, what must be remembered to read on, and the events that
came of it: whoever dies between reading and this step has done nothing.

An event keeps what its best frame takes to be decoded, its chain of containers, as of its begin and
of when it rested or ended: a copy inside Redis that no network touches. It goes when its time is
over, by the store's clock; where all take too many bytes, those go first that would go next.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from slimcloud.chain import Chain
from slimcloud.errors import EventNotFoundError
from slimcloud.events.event import Event, EventState
from slimcloud.frame_id import FrameId
from slimcloud.store import keys
from slimcloud.store.feed import FeedKind
from slimcloud.store.listing import Position, newest_first, position_of
from slimcloud.store.page import Page, page_of
from slimcloud.store.replies import text
from slimcloud.store.scripts import Script
from slimcloud.zones.rules import Severity

_MAX_COUNTED = 5000  # events that one count looks at, the newest
_STEP = 50  # events that one script removes

_LEAD = Script(__file__, "lead")
_RESIGN = Script(__file__, "resign")
_COMMIT = Script(__file__, "commit")
_REVIEW = Script(__file__, "review_events")
_SWEEP = Script(__file__, "sweep_events")


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events to list; every condition that is set must hold, one of several of a kind."""

    cameras: Sequence[str] = ()
    labels: Sequence[str] = ()
    zones: Sequence[str] = ()
    severities: Sequence[Severity] = ()
    state: EventState | None = None
    reviewed: bool | None = None
    since_us: int | None = None  # of its begin, inclusive
    until_us: int | None = None  # exclusive

    def matches(self, event: Event) -> bool:
        """Whether what is not in the index holds for an event."""
        return (
            (not self.cameras or event.camera in self.cameras)
            and (not self.labels or not set(self.labels).isdisjoint(event.labels))
            and (not self.zones or not set(self.zones).isdisjoint(event.zones))
            and (not self.severities or event.severity in self.severities)
            and self.state in (None, event.state)
            and self.reviewed in (None, event.reviewed)
        )


@dataclass(slots=True)
class EventCounts:
    """Of the newest 5,000 events of a time that match."""

    labels: Counter[str] = field(default_factory=Counter)
    zones: Counter[str] = field(default_factory=Counter)
    cameras: Counter[str] = field(default_factory=Counter)
    severities: Counter[str] = field(default_factory=Counter)
    unreviewed: int = 0

    def add(self, event: Event) -> None:
        self.labels.update(event.labels)
        self.zones.update(event.zones)
        self.cameras[event.camera] += 1
        self.severities[event.severity.value] += 1
        self.unreviewed += not event.reviewed


@dataclass(frozen=True, slots=True)
class ToldEvent:
    """An event as it is now, and how it came to be so."""

    kind: FeedKind  # EVENT_BEGUN, EVENT_CHANGED or EVENT_ENDED
    event: Event
    until_us: int  # how long to keep it, by the store's clock


class EventIndex:
    def __init__(self, client: Redis, max_bytes: int) -> None:
        self._client = client
        self._max_bytes = max_bytes

    # --- for people ---

    async def page(
        self, wanted: EventFilter | None = None, *, limit: int = 50, cursor: str | None = None
    ) -> Page[Event]:
        """The next page of at most `limit` (1 or more) events.

        Raises:
            InvalidCursorError: `cursor` is not a `next_cursor` of an earlier page.
        """
        wanted = wanted or EventFilter()
        after = position_of(cursor, str) if cursor else None
        return await page_of(self._events(wanted, after), wanted.matches, limit)

    async def counts(self, wanted: EventFilter) -> EventCounts:
        """How many of what there are."""
        counts, looked_at = EventCounts(), 0
        async for _, event in self._events(wanted, None):
            if wanted.matches(event):
                counts.add(event)
            looked_at += 1
            if looked_at == _MAX_COUNTED:
                break
        return counts

    async def get(self, event_id: str) -> Event:
        """One event.

        Raises:
            EventNotFoundError: there is none, or its time is over.
        """
        event = _event(*await self._client.hmget(f"{keys.EVENT}{event_id}", _FIELDS))
        if event is None:
            raise EventNotFoundError(event_id)
        return event

    async def picture(self, event_id: str) -> Chain:
        """What its best frame takes to be decoded, that frame last; empty where nothing is kept."""
        parts: Any = await self._client.lrange(f"{keys.EVENT_PICTURE}{event_id}", 0, -1)
        pairs = zip(parts[::2], parts[1::2], strict=True)
        return tuple((FrameId.parse(text(name)), bytes(container)) for name, container in pairs)

    async def review(self, event_ids: Sequence[str], reviewer: str, *, reviewed: bool) -> list[str]:
        """Mark events, or take that back; gives those that there are."""
        found = await _REVIEW(self._client, *event_ids, reviewed=int(reviewed), reviewer=reviewer)
        return [text(event_id) for event_id in found]

    async def _events(
        self, wanted: EventFilter, after: Position | None
    ) -> AsyncIterator[tuple[str, Event]]:
        """The events after a position of the index, newest first."""
        is_one = len(wanted.cameras) == 1
        index = f"{keys.EVENTS_OF}{wanted.cameras[0]}" if is_one else keys.EVENTS_ALL
        async for positions in newest_first(
            self._client, index, wanted.since_us, wanted.until_us, after
        ):
            pipeline = self._client.pipeline(transaction=False)
            for _, event_id in positions:
                pipeline.hmget(f"{keys.EVENT}{event_id}", _FIELDS)
            for (begin_us, event_id), values in zip(
                positions, await pipeline.execute(), strict=True
            ):
                if (event := _event(*values)) is not None:
                    yield f"{begin_us}:{event_id}", event

    # --- for who makes them ---

    async def lead(self, runner: str) -> str | None:
        """Take or renew the lease to make events; gives how far the feed was read (empty: not at
        all), None where another process has it.
        """
        position = await _LEAD(self._client, runner=runner)
        return None if position is None else text(position)

    async def resign(self, runner: str) -> None:
        """Give the lease back."""
        await _RESIGN(self._client, runner=runner)

    async def states(self) -> dict[str, bytes]:
        """What must be remembered to read on, by name."""
        reply: Any = await self._client.hgetall(keys.EVENT_STATE)
        return {text(name): bytes(state) for name, state in reply.items()}

    async def commit(
        self,
        runner: str,
        before: str,
        position: str,
        states: Mapping[str, bytes],
        told: Sequence[ToldEvent],
    ) -> bool:
        """Store what came of the feed between two positions, and tell it; False, with nothing
        written, where another process has read on.

        Args:
            states: that changed; an empty one is forgotten.
        """
        given: list[str | float | bytes] = [part for pair in states.items() for part in pair]
        for one in told:
            event = one.event
            keeps = one.kind is not FeedKind.EVENT_CHANGED or event.state is EventState.RESTING
            given += (event.event_id, event.begin_us, one.until_us, event.model_dump_json())
            given += (one.kind, str(event.best_frame_id) if keeps else "")
        stored = await _COMMIT(
            self._client,
            *given,
            runner=runner,
            before=before,
            position=position,
            num_states=len(states),
        )
        return bool(stored)

    async def sweep(self, now_us: int) -> int:
        """Remove what may not stay; gives the number of events removed."""
        removed, step = 0, _STEP
        while step == _STEP:
            step = int(
                await _SWEEP(
                    self._client, now_us=now_us, max_bytes=self._max_bytes, max_count=_STEP
                )
            )
            removed += step
        return removed


_FIELDS = ("event", "reviewed")


def _event(document: object, reviewed: object) -> Event | None:
    if document is None:
        return None
    event = Event.model_validate_json(text(document))
    return event.model_copy(update={"reviewed": text(reviewed) == "1"})
