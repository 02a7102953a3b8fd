"""A receiver that is told through an MQTT broker, with Home Assistant's discovery.

    slimwire/availability         online, offline (last will); retained
    slimwire/{camera}/state       what is active there: {"active": 1, "labels": {"person": 1},
                                  "zones": {"yard": 1}}; retained
    slimwire/{camera}/events      what a webhook is told
    homeassistant/binary_sensor/  whether a label is there: one for each that was seen; retained

Source: https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
"""

import asyncio
import json
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from slimcloud.events.event import Event, EventState
from slimcloud.notify.deliver import DeliveryError
from slimcloud.store.events.outbox import Message

logger = logging.getLogger(__name__)

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_CONNECT_SECONDS = 5.0
_NOT_OF_AN_ID = re.compile(r"[^A-Za-z0-9-]")  # of Home Assistant's object ids

_Seen = tuple[Sequence[str], Sequence[str]]  # labels and zones of an event


class MqttBroker:
    """Connected while it is entered; the library's thread connects again by itself.

    Args:
        url: mqtt:// or mqtts://, with user and password if the broker wants them.
        topic: that its topics begin with.
        with_discovery: whether Home Assistant is told what there is.
        load_active: the events that are active now, by camera; of every camera.
        reconnect_seconds: the shortest and the longest pause before it connects again.
    """

    name = "mqtt"
    max_tries = 12

    def __init__(
        self,
        url: str,
        *,
        topic: str,
        with_discovery: bool,
        load_active: Callable[[], Awaitable[Mapping[str, Sequence[Event]]]],
        reconnect_seconds: tuple[int, int] = (1, 60),
    ) -> None:
        self._url = urlsplit(url)
        self._topic = topic
        self._with_discovery = with_discovery
        self._load_active = load_active
        self._reconnect_seconds = reconnect_seconds

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._acknowledged: dict[int, asyncio.Future[None]] = {}  # by message id
        self._retained: dict[str, str] = {}  # payloads by topic, for a broker that comes anew
        self._active: defaultdict[str, dict[str, _Seen]] = defaultdict(dict)  # by camera, event id
        self._client = self._new_client()
        for camera, events in (await self._load_active()).items():
            self._active[camera] = {event.event_id: (event.labels, event.zones) for event in events}
            self._tell_state(camera)
        address = self._url.hostname or "", self._url.port or _PORTS[self._url.scheme]
        self._client.connect_async(*address)
        self._client.loop_start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client.is_connected():
            self._client.publish(f"{self._topic}/availability", "offline", qos=1, retain=True)
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    def wants(self, event: Event) -> bool:
        """All but what came late."""
        return not event.late

    async def send(self, message: Message) -> None:
        """Publish it, with what is active since, and wait until the broker has it."""
        if not self._client.is_connected():  # the library would keep it, once more at each try
            raise DeliveryError("the broker is not connected")
        event = json.loads(message.body)["data"]
        if event["state"] == EventState.ACTIVE:
            self._active[message.camera][message.event_id] = event["labels"], event["zones"]
        else:
            self._active[message.camera].pop(message.event_id, None)
        self._tell_state(message.camera)
        sent = self._client.publish(f"{self._topic}/{message.camera}/events", message.body, qos=1)
        if sent.rc != paho.MQTT_ERR_SUCCESS:
            raise DeliveryError(paho.error_string(sent.rc))
        acknowledged = self._acknowledged[sent.mid] = self._loop.create_future()
        try:
            await acknowledged
        finally:
            del self._acknowledged[sent.mid]

    def _tell_state(self, camera: str) -> None:
        active = self._active[camera].values()
        labels = Counter(label for labels, _ in active for label in labels)
        zones = Counter(zone for _, zones in active for zone in zones)
        state = {"active": len(active), "labels": labels, "zones": zones}
        self._retain(f"{self._topic}/{camera}/state", state)
        for label in labels if self._with_discovery else ():
            sensor = f"slimwire_{_NOT_OF_AN_ID.sub('_', camera)}/{_NOT_OF_AN_ID.sub('_', label)}"
            self._retain(
                f"homeassistant/binary_sensor/{sensor}/config",
                {
                    "name": label,
                    "unique_id": f"slimwire_{camera}_{label}",
                    "device_class": "occupancy",
                    "state_topic": f"{self._topic}/{camera}/state",
                    "value_template": "{{ 'ON' if value_json.labels.get("
                    f"{json.dumps(label)}, 0) > 0 else 'OFF' }}}}",
                    "availability_topic": f"{self._topic}/availability",
                    "device": {"identifiers": [f"slimwire_{camera}"], "name": camera},
                },
            )

    def _retain(self, topic: str, payload: Mapping[str, Any]) -> None:
        text = json.dumps(payload)
        if self._retained.get(topic) != text:
            self._retained[topic] = text
            if self._client.is_connected():
                self._client.publish(topic, text, qos=1, retain=True)

    def _new_client(self) -> paho.Client:
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.connect_timeout = _CONNECT_SECONDS
        client.reconnect_delay_set(*self._reconnect_seconds)
        client.will_set(f"{self._topic}/availability", "offline", qos=1, retain=True)
        if self._url.username is not None:
            client.username_pw_set(unquote(self._url.username), unquote(self._url.password or ""))
        if self._url.scheme == "mqtts":
            client.tls_set()
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish
        return client

    # --- in the library's thread ---

    def _on_connect(self, client: paho.Client, _: object, __: object, code: Any, *___: Any) -> None:
        if code.is_failure:
            logger.warning("the MQTT broker refuses: %s", code)
            return
        for topic, text in dict(self._retained).items():
            client.publish(topic, text, qos=1, retain=True)
        client.publish(f"{self._topic}/availability", "online", qos=1, retain=True)

    def _on_publish(self, _: object, __: object, message_id: int, *___: object) -> None:
        self._loop.call_soon_threadsafe(self._note, message_id)

    def _note(self, message_id: int) -> None:
        acknowledged = self._acknowledged.get(message_id)
        if acknowledged is not None and not acknowledged.done():
            acknowledged.set_result(None)
