"""A whole cloud tells receivers outside what happens."""

import json
from pathlib import Path

from slimcloud.store import keys
from slimcloud.store.feed import FeedKind
from slimops.storage.redis_connection import redis_client
from support.cloud.events import make_event
from support.cloud.receiver import http_receiver
from support.cloud.whole_cloud import ToyModels, cloud_settings, open_cloud


async def test_a_webhook_is_told_though_the_broker_is_away(redis_url: str, tmp_path: Path) -> None:
    models = ToyModels(tmp_path)
    event = make_event(1)
    async with http_receiver() as receiver:
        webhook = {"name": "phone", "url": receiver.url, "secret": "whsec_" + 32 * "A"}
        settings = cloud_settings(
            models, redis_url, webhooks=json.dumps([webhook]), mqtt_url="mqtt://127.0.0.1:1"
        )
        client = redis_client(redis_url)
        async with open_cloud(settings) as cloud:
            await cloud.store.outbox.put(await cloud.store.feed.latest_id(), [])
            await client.hset(f"{keys.EVENT}{event.event_id}", "event", event.model_dump_json())
            await cloud.store.feed.add(FeedKind.EVENT_BEGUN, event.camera, detail=event.event_id)
            told = json.loads((await receiver.asked.get()).body)
        await client.aclose()

    assert told["type"] == "event.begun"
    assert told["data"]["event_id"] == event.event_id
    assert told["data"]["begin"] == "2026-05-28T20:26:40Z"
    assert told["data"]["end"] is None
