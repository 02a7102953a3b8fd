"""What the cloud's unit tests share: a real Redis per process, empty for each test."""

from support.cloud.redis_fixtures import client, redis_server, redis_url, store

__all__ = ["client", "redis_server", "redis_url", "store"]
