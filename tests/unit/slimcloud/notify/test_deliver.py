"""Notifications from a real feed to real receivers that fail, hang and come back."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

import pytest
from redis.asyncio import Redis
from redis.backoff import ExponentialBackoff

from slimcloud.errors import EventNotFoundError
from slimcloud.events.event import Event
from slimcloud.notify import Notifier, Webhook
from slimcloud.receivers import parse_webhooks
from slimcloud.store.events.outbox import Outbox
from slimcloud.store.feed import FeedKind
from slimcloud.store.frames import Store
from support.cloud.events import make_event
from support.cloud.receiver import HANG, HttpReceiver, http_receiver

KEY = b"0123456789abcdef01234567"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
NOW = 1_780_000_000.0


class World:
    """A feed with events, and notifiers that read it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.events: dict[str, Event] = {}
        self.waits: list[float] = []
        self.results: list[tuple[str, str]] = []

    async def tell(
        self, number: int, kind: FeedKind = FeedKind.EVENT_BEGUN, **changes: object
    ) -> None:
        event = make_event(number, **changes)
        self.events[event.event_id] = event
        await self.store.feed.add(kind, event.camera, detail=event.event_id)

    async def load(self, event_id: str) -> Event:
        if event_id not in self.events:
            raise EventNotFoundError(event_id)
        return self.events[event_id]

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)

    @asynccontextmanager
    async def notifying(
        self,
        *receivers: HttpReceiver,
        outbox: Outbox | None = None,
        send_seconds: float = 600.0,
        **settings: object,
    ) -> AsyncIterator[Notifier]:
        """A notifier runs, and has begun to read; each receiver is called by its number."""
        document = [
            {"name": f"r{number}", "url": receiver.url, "secret": SECRET, **settings}
            for number, receiver in enumerate(receivers)
        ]
        webhooks = [
            Webhook(target, clock=lambda: NOW) for target in parse_webhooks(json.dumps(document))
        ]
        notifier = Notifier(
            self.store.feed,
            outbox or self.store.outbox,
            webhooks,
            load=self.load,
            view=lambda event: {"event_id": event.event_id},
            on_result=lambda receiver, result: self.results.append((receiver, result)),
            backoff=ExponentialBackoff(cap=4, base=1),
            sleep=self.sleep,
            send_seconds=send_seconds,
        )
        running = asyncio.create_task(notifier.run())
        try:
            while not await self.store.outbox.position():
                await asyncio.sleep(0.01)
            yield notifier
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    async def until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            await asyncio.sleep(0.01)


@pytest.fixture
def world(store: Store) -> World:
    return World(store)


async def told(receiver: HttpReceiver, count: int) -> list[tuple[str, str]]:
    """Kind and number of the events of the next requests."""
    bodies = [json.loads((await receiver.asked.get()).body) for _ in range(count)]
    return [(body["type"], body["data"]["event_id"].rpartition(".")[2]) for body in bodies]


async def test_a_webhook_is_told_of_what_happens_and_signed(world: World) -> None:
    async with http_receiver() as phone, world.notifying(phone):
        await world.store.feed.add(FeedKind.CAMERA_CONNECTED, "gate-1")
        await world.tell(1)
        received = await phone.asked.get()
        await world.tell(1, FeedKind.EVENT_ENDED)
        ended = await phone.asked.get()

    # Standard Webhooks: HMAC-SHA256 of id, timestamp and body
    message_id, timestamp = received.headers["webhook-id"], received.headers["webhook-timestamp"]
    signed = b".".join((message_id.encode(), timestamp.encode(), received.body))
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert received.headers["webhook-signature"] == f"v1,{expected}"
    assert timestamp == "1780000000"
    assert ended.headers["webhook-id"] != message_id
    said = json.loads(received.body)
    assert (said["type"], said["data"]) == ("event.begun", {"event_id": make_event(1).event_id})
    assert datetime.fromisoformat(said["timestamp"]).tzinfo is UTC
    assert json.loads(ended.body)["type"] == "event.ended"


async def test_a_receiver_that_fails_is_tried_again_later_and_told_in_order(world: World) -> None:
    async with http_receiver(500, 503, 404) as phone, world.notifying(phone):
        await world.tell(1)
        await world.tell(2)
        requests = [await phone.asked.get() for _ in range(5)]
        await world.until(lambda: ("r0", "delivered") in world.results[4:])

    assert len({request.headers["webhook-id"] for request in requests[:4]}) == 1
    assert len({request.body for request in requests[:4]}) == 1
    assert world.waits == [1, 7, 4]  # doubling, and what 503 asks for
    assert world.results == [("r0", "retried")] * 3 + [("r0", "delivered")] * 2
    assert await world.store.outbox.undelivered(10) == []


async def test_what_is_given_up_is_a_dead_letter_that_can_be_sent_again(world: World) -> None:
    async with http_receiver(500, 500, 400) as phone, world.notifying(phone, max_tries=2):
        await world.tell(1)
        await world.tell(2)  # 400: never again the same bytes
        await world.tell(3)
        assert (await told(phone, 4))[3] == ("event.begun", "3")
        newer, older = await world.store.outbox.undelivered(10)
        await world.store.outbox.send_again(older.letter_id)
        again = await told(phone, 1)
        left = await world.store.outbox.undelivered(10)

    assert (older.receiver, older.tries, older.reason) == ("r0", 2, "answers 500")
    assert (newer.tries, newer.reason) == (1, "answers 400")
    assert again == [("event.begun", "1")]
    assert left == [newer]


async def test_a_receiver_that_hangs_holds_nobody_up(world: World) -> None:
    async with (
        http_receiver(HANG) as slow,
        http_receiver() as quick,
        world.notifying(slow, quick),
    ):
        for number in (1, 2):
            await world.tell(number)
        assert await told(slow, 1) == [("event.begun", "1")]
        assert await told(quick, 2) == [("event.begun", "1"), ("event.begun", "2")]


async def test_a_receiver_that_hangs_is_told_again(world: World) -> None:
    async with http_receiver(HANG) as slow, world.notifying(slow, send_seconds=0.2):
        for number in (1, 2):
            await world.tell(number)
        assert await told(slow, 3) == [("event.begun", n) for n in ("1", "1", "2")]


async def test_a_cloud_that_was_killed_goes_on_where_it_was(world: World) -> None:
    async with http_receiver(HANG) as phone:
        async with world.notifying(phone):
            await world.tell(1)
            await told(phone, 1)  # and no answer
        await world.tell(2)  # while nobody reads
        async with world.notifying(phone):
            assert await told(phone, 2) == [("event.begun", "1"), ("event.begun", "2")]


async def test_of_several_clouds_one_tells(world: World) -> None:
    async with http_receiver() as phone, world.notifying(phone), world.notifying(phone):
        for number in range(3):
            await world.tell(number)
        await told(phone, 3)
        await world.until(lambda: len(world.results) == 3)

        assert phone.asked.empty()


async def test_what_waits_is_bounded(world: World, client: Redis) -> None:
    outbox = Outbox(client, max_waiting=2)
    async with http_receiver(HANG) as phone, world.notifying(phone, outbox=outbox):
        for number in range(4):
            await world.tell(number)
        while len(letters := await outbox.undelivered(10)) < 2:
            await asyncio.sleep(0.01)

    assert [letter.message.event_id[-1] for letter in reversed(letters)] == ["0", "1"]
    assert {letter.reason for letter in letters} == {"2 others wait already"}


@pytest.mark.parametrize(
    ("conditions", "is_told"),
    [
        ({}, True),
        ({"cameras": ["gate-1"], "labels": ["car", "person"], "zones": ["yard"]}, True),
        ({"severities": ["alert"]}, True),
        ({"cameras": ["gate-2"]}, False),
        ({"labels": ["car"]}, False),
        ({"zones": ["street"]}, False),
        ({"severities": ["detection"]}, False),
    ],
)
async def test_conditions_must_all_hold(conditions: dict[str, list[str]], is_told: bool) -> None:
    document = json.dumps([{"name": "r", "url": "http://a/", "secret": SECRET, **conditions}])
    (target,) = parse_webhooks(document)
    webhook = Webhook(target)
    event = make_event(1, zones=("yard",), severity="alert")

    assert webhook.wants(event) is is_told
    assert not webhook.wants(event.model_copy(update={"late": True}))  # unless asked for


async def test_history_is_told_to_who_asks_for_it(world: World) -> None:
    async with (
        http_receiver() as archive,
        world.notifying(archive, history=True),
    ):
        await world.tell(1, late=True)

        assert await told(archive, 1) == [("event.begun", "1")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- {name: a, url: 'ftp://a', secret: SECRET}", "0.url"),
        ("- {name: a, url: 'http://a', secret: whsec_c2hvcnQ=}", "24 to 64 random bytes"),
        ("- {name: a, url: 'http://a', secret: SECRET, color: red}", "0.color"),
        ("- {name: a, url: 'http://a', secret: SECRET}\n" * 2, "one name"),
        ("- {name: [", "line 1"),
    ],
)
def test_a_wrong_list_is_refused_without_its_secrets(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        parse_webhooks(text.replace("SECRET", SECRET))

    assert SECRET not in str(caught.value)
    assert "c2hvcnQ" not in str(caught.value)
