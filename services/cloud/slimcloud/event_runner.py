"""The feed -> events. One process of a deployment makes them; the others wait for its lease.

    feed ─► results of a camera in the order of its frames ─► CameraEvents.update ─► one commit:
                                                        events, what must be remembered, position

Frames that came late go to a `CameraEvents` of their own, which makes late events: history only. A
frame that is not newer than the one before it there adds nothing.

Every process that detects runs one: without results there is nothing to make events of, and a cloud
of one process has that role.
"""

import asyncio
import contextlib
import logging
import uuid
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

from redis.exceptions import RedisError

from slimcloud.events.event import EventState
from slimcloud.events.grouping import CameraEvents, SeenFrame, Told
from slimcloud.frame_id import FrameId
from slimcloud.settings import CloudSettings
from slimcloud.store.events.event_index import ToldEvent
from slimcloud.store.feed import FeedKind
from slimcloud.store.frames import Store
from slimcloud.wall_clock import unix_us
from slimcloud.zones.rules import CameraRules, Severity
from slimops.metrics import Metrics

logger = logging.getLogger(__name__)

_READ_COUNT = 200  # entries of the feed at a time
_BLOCK_SECONDS = 0.5
_PAUSE_SECONDS = 0.05  # between two commits: what comes meanwhile goes into the next
_WAIT_SECONDS = 2.0  # between two tries to get the lease; after an error
_SILENT_US = 10_000_000  # without a frame: time passes for its camera all the same
_FORGOTTEN_US = 600_000_000  # without a frame: its events end, and nothing is remembered
_DAY_US = 24 * 3600 * 1_000_000
_LATE = " late"  # after the camera's name; no name has a space
_KINDS = {FeedKind.FRAME_DETECTED: False, FeedKind.FRAME_BACKFILLED: True}  # whether it is late


class EventMetrics:
    """What the maker of events counts."""

    def __init__(self, metrics: Metrics) -> None:
        self.events = metrics.counter("events", "Events that began", ("severity",))
        self.tell_seconds = metrics.histogram(
            "event_tell_seconds", "From the capture of the frame that began it to a live event told"
        )
        self.missed = metrics.counter(
            "event_feed_missed", "Times that the feed was trimmed before it was read"
        )


class EventRunner:
    """Makes events while it has the lease."""

    def __init__(self, store: Store, settings: CloudSettings, metrics: EventMetrics) -> None:
        self._store = store
        self._index = store.event_index
        self._settings = settings
        self._metrics = metrics
        self._name = uuid.uuid4().hex
        self._committed: str | None = None  # position in the feed; None: not known
        self._position = ""  # read up to there
        self._cameras: dict[str, CameraEvents] = {}  # by name of the state
        self._rules: dict[str, CameraRules] = {}  # by camera, as they were read
        self._heard_us: dict[str, int] = {}  # of each, by the store's clock

    async def run(self) -> None:
        """Make events until cancelled."""
        try:
            while True:
                try:
                    pause = _PAUSE_SECONDS if await self.step() else _WAIT_SECONDS
                except RedisError as exc:
                    logger.warning("the store does not answer: %s", exc)
                    self._committed, pause = None, _WAIT_SECONDS
                await asyncio.sleep(pause)
        finally:
            with contextlib.suppress(RedisError):  # the lease ends by itself, too
                await self._index.resign(self._name)

    async def step(self) -> bool:
        """Read on once; False where another process makes the events."""
        position = await self._index.lead(self._name)
        if position is None:
            self._committed = None
            return False
        if position != self._committed:
            await self._begin(position)
        entries = await self._store.feed.read(
            self._position, count=_READ_COUNT, block_seconds=_BLOCK_SECONDS
        )
        for entry in entries:
            if entry.kind is FeedKind.RULES_CHANGED:
                self._rules.pop(entry.camera_id, None)
        frames = [
            (entry.frame_id, is_late)
            for entry in entries
            if (is_late := _KINDS.get(entry.kind)) is not None and entry.frame_id is not None
        ]
        told = await self._take(frames)
        for name, ended in self._let_time_pass().items():
            told.setdefault(name, []).extend(ended)
        if entries:
            self._position = entries[-1].entry_id
        if told:
            await self._commit(told)
        return True

    async def _begin(self, position: str) -> None:
        """Go on from where this or another process has stopped."""
        feed = self._store.feed
        if not position:  # the first time ever: what was before is not told
            self._position = await feed.latest_id()
        else:
            self._position = position
            if await feed.has_trimmed(position):
                self._metrics.missed.inc()
                logger.warning("events may be missing: the feed was trimmed before it was read")
        self._committed, self._cameras, self._rules = position, {}, {}
        for name, state in (await self._index.states()).items():
            try:
                self._cameras[name] = CameraEvents.from_json(zlib.decompress(state))
            except (zlib.error, ValueError) as exc:  # of another build
                logger.warning("events of %s begin anew: %s", name, exc)
        self._heard_us = dict.fromkeys(self._cameras, self._store.clock())

    async def _take(self, frames: Sequence[tuple[FrameId, bool]]) -> dict[str, list[Told]]:
        """What frames and whether each came late -> what is to be told, by name of the state."""
        told: defaultdict[str, list[Told]] = defaultdict(list)
        loaded = await self._store.load_results([frame_id for frame_id, _ in frames])
        for (frame_id, is_late), found in zip(frames, loaded, strict=True):
            if found is None:  # retention was faster
                continue
            record, result = found
            camera = frame_id.camera_id
            name = camera + _LATE if is_late else camera
            maker = self._cameras.setdefault(name, CameraEvents(camera, late=is_late))
            seen = SeenFrame(frame_id, record.captured_us, record.image_hw, result.detections)
            told[name] += maker.update(seen, await self._rules_of(camera))
            self._heard_us[name] = self._store.clock()
        return told

    def _let_time_pass(self) -> dict[str, list[Told]]:
        """For cameras that are silent; gives those whose state changed by it."""
        told: dict[str, list[Told]] = {}
        for name, maker in list(self._cameras.items()):
            silent_us = self._store.clock() - self._heard_us[name]
            if silent_us > _FORGOTTEN_US:
                told[name] = maker.end()
                del self._cameras[name], self._heard_us[name]
            elif silent_us > _SILENT_US and maker.open:
                captured_us = self._captured_us(name)
                if ended := maker.settle(captured_us + silent_us):
                    told[name] = ended
        return told

    async def _commit(self, told: Mapping[str, Sequence[Told]]) -> None:
        states = {
            name: zlib.compress(maker.to_json(), 1) if (maker := self._cameras.get(name)) else b""
            for name in told
        }
        events = [await self._told_event(one) for some in told.values() for one in some]
        before = self._committed or ""
        if not await self._index.commit(self._name, before, self._position, states, events):
            self._committed = None  # another process has read on
            return
        self._committed = self._position
        for name, some in told.items():
            for one in some:
                if one.is_new:
                    self._metrics.events.labels(one.event.severity.value).inc()
                if one.is_new and not one.event.late:
                    seconds = (unix_us() - self._captured_us(name)) / 1e6
                    self._metrics.tell_seconds.observe(max(0.0, seconds))

    def _captured_us(self, name: str) -> int:
        """Capture of the last frame."""
        return self._cameras[name].tracker.captured_us or 0

    async def _rules_of(self, camera: str) -> CameraRules:
        if camera not in self._rules:
            self._rules[camera] = (await self._store.rules.get(camera)).rules
        return self._rules[camera]

    async def _told_event(self, told: Told) -> ToldEvent:
        event = told.event
        kind = FeedKind.EVENT_BEGUN if told.is_new else FeedKind.EVENT_CHANGED
        if event.state is EventState.ENDED:
            kind = FeedKind.EVENT_ENDED
        retain = (await self._rules_of(event.camera)).retain
        if event.severity is Severity.ALERT:
            days = retain.alert_days or self._settings.event_alert_days
        else:
            days = retain.detection_days or self._settings.event_detection_days
        return ToldEvent(kind, event, self._store.clock() + round(_DAY_US * days))
