"""Notifications through a real broker."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from slimcloud.events.event import Event, EventState
from slimcloud.notify import MqttBroker
from slimcloud.notify.deliver import DeliveryError
from slimcloud.store.events.outbox import Message
from support.cloud.broker import MOSQUITTO, Broker
from support.cloud.events import make_event

pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="needs mosquitto: apt install mosquitto")

SENSOR = "homeassistant/binary_sensor/slimwire_gate-1/traffic_light/config"


def light(number: int, **changes: object) -> Event:
    return make_event(number, **{"labels": ("traffic light",), "zones": ("yard",), **changes})


def message_of(event: Event) -> Message:
    body = json.dumps({"type": "event.begun", "data": event.model_dump(mode="json")})
    return Message("1-0", "event.begun", event.event_id, event.camera, body)


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    broker = Broker(tmp_path)
    await broker.start()
    yield broker
    await broker.stop()


def told_by(broker: Broker, *active: Event, with_discovery: bool = True) -> MqttBroker:
    async def load_active() -> dict[str, list[Event]]:
        return {"gate-1": list(active), "gate-2": []}

    return MqttBroker(
        broker.url,
        topic="slimwire",
        with_discovery=with_discovery,
        load_active=load_active,
        reconnect_seconds=(1, 1),
    )


async def send(receiver: MqttBroker, event: Event) -> None:
    while True:
        try:
            return await asyncio.wait_for(receiver.send(message_of(event)), 5)
        except DeliveryError:
            await asyncio.sleep(0.02)


async def until(heard: asyncio.Queue[tuple[str, str]], topic: str, text: str) -> str:
    """The payload that comes on a topic with this text in it."""
    while True:
        name, payload = await heard.get()
        if name == topic and text in payload:
            return payload


async def test_events_and_what_is_active_are_published(broker: Broker) -> None:
    async with broker.listening() as heard, told_by(broker, light(1)) as receiver:
        state = json.loads(await until(heard, "slimwire/gate-1/state", "active"))
        assert state == {"active": 1, "labels": {"traffic light": 1}, "zones": {"yard": 1}}
        await send(receiver, light(2, labels=("person", "traffic light")))
        state = json.loads(await until(heard, "slimwire/gate-1/state", "person"))
        assert state["labels"] == {"traffic light": 2, "person": 1}
        told = json.loads(await until(heard, "slimwire/gate-1/events", "event.begun"))
        assert told["data"]["labels"] == ["person", "traffic light"]
        await send(receiver, light(2, state=EventState.RESTING))
        await send(receiver, make_event(1, state=EventState.ENDED, end_us=1))
        await until(heard, "slimwire/gate-1/state", '"active": 0')

    assert not receiver.wants(light(3, late=True))


async def test_home_assistant_is_told_what_there_is(broker: Broker) -> None:
    async with told_by(broker, light(1)) as receiver:
        await send(receiver, light(1))
        async with broker.listening() as heard:
            config = json.loads(await until(heard, SENSOR, "name"))

    assert config["name"] == "traffic light"
    assert config["unique_id"] == "slimwire_gate-1_traffic light"
    assert config["state_topic"] == "slimwire/gate-1/state"
    assert config["availability_topic"] == "slimwire/availability"
    assert config["value_template"] == (
        "{{ 'ON' if value_json.labels.get(\"traffic light\", 0) > 0 else 'OFF' }}"
    )


async def test_without_discovery_home_assistant_is_told_nothing(broker: Broker) -> None:
    async with (
        broker.listening() as heard,
        told_by(broker, light(1), with_discovery=False) as receiver,
    ):
        await send(receiver, light(1))
        await until(heard, "slimwire/gate-1/events", "")

        topics = {heard.get_nowait()[0] for _ in range(heard.qsize())}
    assert not any(topic.startswith("homeassistant") for topic in topics)


async def test_who_leaves_is_offline_and_who_dies_by_its_last_will(broker: Broker) -> None:
    async with broker.listening() as heard:
        async with told_by(broker):
            await until(heard, "slimwire/availability", "online")
        await until(heard, "slimwire/availability", "offline")
        async with told_by(broker) as receiver:
            await until(heard, "slimwire/availability", "online")
            connection = receiver._client.socket()
            assert isinstance(connection, socket.socket)
            connection.shutdown(socket.SHUT_RDWR)
            await until(heard, "slimwire/availability", "offline")
            await until(heard, "slimwire/availability", "online")  # it is back by itself


async def test_a_broker_that_comes_back_anew_is_told_everything_again(broker: Broker) -> None:
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(told_by(broker))
        await send(receiver, light(1))
        await broker.stop()
        with pytest.raises((DeliveryError, TimeoutError)):
            await asyncio.wait_for(receiver.send(message_of(light(1))), 0.2)
        await broker.start()
        await send(receiver, light(2))
        async with broker.listening() as heard:
            state = await until(heard, "slimwire/gate-1/state", "")
            await until(
                heard, "homeassistant/binary_sensor/slimwire_gate-1/traffic_light/config", ""
            )

    assert json.loads(state)["active"] == 2
