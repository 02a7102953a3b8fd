"""One cloud process: wires its roles, runs until told to stop, and stops in order.

    Redis (given or embedded) ◄─► Store ─┬─ ingest   gRPC server, event relay, retention
                                         ├─ detect   worker, batcher, engine, events
                                         └─ review   HTTP API, pictures on demand

To stop: Drain to the cameras and no new streams; the detector ends what it took; then servers, the
store's connections and the embedded Redis are closed.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from fastapi import FastAPI
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from slimcloud.addresses import CloudAddresses
from slimcloud.chain import ChainDecoder
from slimcloud.detect.engine import DetectionEngine, TriagePolicy, load_canary
from slimcloud.detect.metrics import DetectMetrics
from slimcloud.detect.worker import DetectWorker
from slimcloud.errors import StoreUnreachableError
from slimcloud.event_runner import EventMetrics, EventRunner
from slimcloud.events.event import Event, EventState
from slimcloud.followed_file import FileMetrics, follow_file
from slimcloud.http.behind_proxy import BehindProxy
from slimcloud.http.probes import Readiness, probe_router
from slimcloud.http.server import HttpServer
from slimcloud.ingest.event_relay import PAUSE_SECONDS
from slimcloud.ingest.metrics import IngestMetrics
from slimcloud.ingest.server import start_ingest_server
from slimcloud.ingest.servicer import IngestServicer
from slimcloud.notify import MqttBroker, Notifier, Receiver, Webhook
from slimcloud.receivers import parse_webhooks
from slimcloud.review import (
    ReviewMetrics,
    build_api,
    end_event_streams,
    event_document,
    take_tokens,
)
from slimcloud.review.pictures.preview import PreviewRenderer
from slimcloud.review.pictures.reconstruct import Reconstructor, sharp_quality_of
from slimcloud.roles import Role
from slimcloud.settings import CloudSettings, split_words
from slimcloud.store.cameras.registry import CameraCondition
from slimcloud.store.clock import READ_SECONDS, StoreClock
from slimcloud.store.events.event_index import EventFilter
from slimcloud.store.frames import Store
from slimcloud.store.keys import LEASE_SECONDS
from slimcloud.store.periodic import repeat
from slimcloud.tokens import LOOK_SECONDS, LiveTokens, TokenTable
from slimcloud.zones.file import RulesTable, parse_rules
from slimcodec.decode import Decoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact, DetectorArtifact
from slimcodec.model.find import find_model
from slimcodec.model.load import load_codec_artifact, load_detector_of
from slimcodec.preview import Previewer
from slimops.address import without_passwords
from slimops.errors import SettingsError
from slimops.lifecycle import Lifecycle, Phase
from slimops.metrics import Metrics
from slimops.storage.durability import check_durability
from slimops.storage.embedded_redis import EmbeddedRedis
from slimops.storage.redis_connection import redis_client
from slimops.user_folder import user_folder

logger = logging.getLogger(__name__)

# Of each graph: pictures up to 0.9 megapixels find the memory of the one before.
_KEPT_BYTES = 192 * 2**20
_ACTIVE = EventFilter(state=EventState.ACTIVE)
_MAX_ACTIVE = 1000  # events that are told to a broker as active when it is connected
_REDIS_PAUSE_SECONDS = 0.5  # between two tries at the start
_COUNT_SECONDS = 15.0  # how old the numbers of cameras may be


@dataclass(frozen=True, slots=True)
class _Models:
    codec: CodecArtifact
    detector: DetectorArtifact
    runtime: OpenVinoRuntime
    triage: TriagePolicy | None


@dataclass(frozen=True, slots=True)
class _Process:
    """What the roles of a process share."""

    settings: CloudSettings
    models: _Models
    store: Store
    metrics: Metrics
    life: Lifecycle
    readiness: Readiness
    tokens: LiveTokens


async def run_cloud(
    settings: CloudSettings,
    *,
    ready: Callable[[CloudAddresses], None] | None = None,
    lifecycle: Lifecycle | None = None,
) -> None:
    """Run a cloud process until SIGINT, SIGTERM or `lifecycle.request_stop()`.

    Call it from the main thread when there is no `redis_url`. Logging is the caller's to configure.

    Args:
        ready: is told the addresses when everything answers, once.
        lifecycle: of the caller, to be entered and left here; else one that handles signals.

    Raises:
        slimcodec.errors.ModelError: the model is missing or broken.
        slimops.errors.EmbeddedRedisError: there is no Redis to start, or it ended.
        slimops.errors.SettingsError: Redis promises less than `durability`, or refuses the
            password, the database or to be written to; no place for `data`.
        slimcloud.errors.StoreUnreachableError: the Redis of `redis_url` does not answer.
        OSError: an address cannot be bound.
    """
    models = _load_models(settings)
    life = lifecycle or Lifecycle(deadline_seconds=settings.stop_seconds)
    async with life:
        addresses = CloudAddresses(pid=os.getpid(), redis_url=_start_redis(settings, life))
        store = await _open_store(settings, addresses.redis_url, life)
        tokens = LiveTokens(settings.token_table, store.cameras.token_digests)
        await tokens.look()
        process = _Process(settings, models, store, Metrics("cloud"), life, Readiness(), tokens)
        process.readiness.checks.append(store.ping)
        if settings.role.includes(Role.DETECT):
            await _start_detect(process)
        if settings.role.includes(Role.INGEST):
            addresses = replace(addresses, grpc=await _start_ingest(process))
        if settings.role.includes(Role.REVIEW):
            addresses = replace(addresses, http=_start_review(process))
            _start_notifier(process)
        if settings.metrics_port is not None:
            url = _start_probes(process, settings.metrics_port)
            addresses = replace(addresses, metrics=f"{url}/metrics")
        await _follow_files(process)
        _announce(settings, addresses, life)
        if ready is not None:
            ready(addresses)
        await life.wait()
        logger.info("stopping")


def _load_models(settings: CloudSettings) -> _Models:
    codec = load_codec_artifact(find_model("codec", settings.model, settings.models_root))
    detector = load_detector_of(codec, settings.models_root)
    runtime = OpenVinoRuntime(settings.detector_threads, settings.precision, _KEPT_BYTES)
    triage = None
    if settings.triage != "off":
        triage = TriagePolicy(settings, codec, detector.names, runtime)
    return _Models(codec, detector, runtime, triage)


def _start_redis(settings: CloudSettings, life: Lifecycle) -> str:
    if settings.redis_url is not None:
        return settings.redis_url
    server = EmbeddedRedis(
        settings.data or _default_data(),
        durability=settings.durability,
        max_memory_bytes=settings.embedded_memory_bytes,
    )
    server.start()
    life.spawn(server.watch(), "embedded-redis")
    life.on_stop(Phase.CLOSE, "embedded Redis", lambda: asyncio.to_thread(server.stop))
    return server.url


def _default_data() -> Path:
    folder = user_folder("XDG_STATE_HOME", ".local/state")
    if folder is None:
        raise SettingsError(["data: this user has no home; set --data or CLOUD_DATA"])
    return folder / "cloud"


async def _open_store(settings: CloudSettings, url: str, life: Lifecycle) -> Store:
    client = redis_client(url)
    life.on_stop(Phase.CLOSE, "Redis connections", client.aclose)
    clock = StoreClock(client)
    store = Store(
        client,
        retention_seconds=settings.retention_seconds,
        max_stored_bytes=settings.max_stored_bytes,
        max_event_bytes=min(settings.max_event_bytes, settings.max_stored_bytes // 2),
        max_queue_size=settings.max_queue_size,
        queue_timeout_seconds=settings.queue_timeout_seconds,
        max_reference_depth=settings.max_reference_depth,
        clock=clock,
    )
    shown = f"redis_url (CLOUD_REDIS_URL): {without_passwords(url)}"
    try:
        await _await_answer(clock, shown, settings.redis_wait_seconds, life)
        await check_durability(client, settings.durability)
        await store.work.prepare()
    except RedisError as exc:
        if _is_refusal(exc):
            raise SettingsError([f"{shown}: Redis refuses: {exc}"]) from exc
        raise StoreUnreachableError(f"{shown} does not answer: {exc}") from exc
    life.spawn(repeat(clock.read, READ_SECONDS), "clock")
    return store


async def _await_answer(clock: StoreClock, shown: str, seconds: float, life: Lifecycle) -> None:
    """Return when Redis has answered; raise what it was at the end, or when the process stops."""
    give_up = time.monotonic() + seconds
    while True:
        try:
            await clock.read()
            return
        except RedisError as exc:
            if _is_refusal(exc) or time.monotonic() > give_up:
                raise
            logger.warning("%s does not answer and is waited for: %s", shown, exc)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(life.wait(), _REDIS_PAUSE_SECONDS)
            give_up = 0.0


def _is_refusal(error: RedisError) -> bool:
    answer = error.__cause__ or error  # what it said to the first commands of a connection
    return isinstance(answer, AuthenticationError | ResponseError)


async def _start_detect(process: _Process) -> None:
    settings, models, life = process.settings, process.models, process.life
    metrics = DetectMetrics(process.metrics)
    engine = DetectionEngine(
        models.codec,
        models.detector,
        models.runtime,
        settings,
        models.triage,
        on_reference=lambda kept: metrics.references.labels("kept" if kept else "read").inc(),
    )
    life.on_stop(Phase.CLOSE, "detector", lambda: asyncio.to_thread(engine.close))
    await engine.check()
    process.readiness.checks.append(engine.check)
    worker = DetectWorker(process.store, engine, settings, metrics)
    taking = life.spawn(worker.run(), "detect")
    life.spawn(worker.serve_batches(), "batches")
    runner = EventRunner(process.store, settings, EventMetrics(process.metrics))
    life.spawn(runner.run(), "events")

    async def drain() -> None:
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
        await worker.drain()

    life.on_stop(Phase.DRAIN, "detector", drain)


async def _start_ingest(process: _Process) -> str:
    """The address for cameras."""
    settings, store, life = process.settings, process.store, process.life
    metrics = IngestMetrics(process.metrics)
    servicer = IngestServicer(store, process.models.codec, settings, metrics)
    life.spawn(servicer.event_relay.run(await store.feed.latest_id()), "event relay")
    life.spawn(repeat(servicer.credit.follow_queue, PAUSE_SECONDS), "credit")
    life.spawn(repeat(lambda: _sweep(store, settings), settings.sweep_seconds), "retention")
    # its cameras count as connected for as long as this process lives
    life.spawn(repeat(store.cameras.renew_lease, LEASE_SECONDS / 4), "lease")
    life.spawn(repeat(lambda: _count_cameras(store, metrics), _COUNT_SECONDS), "cameras")
    process.tokens.follow(lambda table: servicer.go_by(servicer.auth.with_tokens(table)))
    server = await start_ingest_server(servicer, settings)
    life.spawn(server.serve(), "gRPC")

    async def refuse() -> None:
        await server.refuse()
        servicer.drain(grace_seconds=settings.stop_seconds / 2)
        await server.stop(settings.stop_seconds / 2)

    life.on_stop(Phase.REFUSE, "ingest", refuse)
    life.on_stop(Phase.CLOSE, "ingest", lambda: server.stop(0))
    return server.address


def _start_review(process: _Process) -> str:
    """The API's address."""
    settings, models, life = process.settings, process.models, process.life
    metrics = ReviewMetrics(process.metrics)
    decoder = Decoder(models.codec, models.runtime, settings.max_pixels)
    chains = ChainDecoder(decoder, models.codec)
    previews = None
    if (previewer := Previewer.of(models.codec)) is not None:
        previews = PreviewRenderer(
            chains, previewer, lambda result: metrics.cache.labels("preview", result).inc()
        )
    reconstructor = Reconstructor(
        chains,
        decoder_id=f"{models.codec.label}:{models.codec.fingerprint.hex()}:"
        f"{models.runtime.precision}",
        on_result=lambda result: metrics.cache.labels("picture", result).inc(),
        on_decoded=metrics.decode_seconds.observe,
    )
    process.readiness.checks.append(
        lambda: reconstructor.check(lambda: load_canary(models.codec, decoder))
    )
    app = build_api(
        process.store,
        reconstructor,
        previews,
        names=models.detector.names,
        num_levels=len(models.codec.levels),
        sharp_quality=sharp_quality_of(models.codec),
        readiness=process.readiness,
        metrics=metrics,
        tokens=settings.token_table if settings.asks_people else None,
        sign_on=settings.sign_on,
        look_at_tokens=process.tokens.look,
        allowed_hosts=[settings.http_host, *split_words(settings.allowed_hosts)],
    )
    process.tokens.follow(lambda table: take_tokens(app, table))
    behind_proxy = BehindProxy(
        app,
        split_words(settings.trusted_proxies),
        root_path=settings.http_root_path or "",
        proxy_headers=settings.sign_on.headers if settings.sign_on else (),
    )
    server = HttpServer(
        behind_proxy,
        settings.http_host,
        settings.http_port,
        inherited=settings.http_socket,
        tls_cert=settings.tls_cert,
        tls_key=settings.tls_key,
    )
    server.start(life.spawn)

    async def stop() -> None:
        end_event_streams(app)
        await server.stop()

    life.on_stop(Phase.REFUSE, "review", stop)
    life.on_stop(Phase.CLOSE, "review", server.close)

    def close_pools() -> None:
        reconstructor.close()
        if previews is not None:
            previews.close()

    life.on_stop(Phase.CLOSE, "pictures", lambda: asyncio.to_thread(close_pools))
    return server.url


def _start_notifier(process: _Process) -> None:
    """Tell receivers outside of events, where there are any."""
    settings, store = process.settings, process.store

    async def load_active() -> dict[str, list[Event]]:
        cameras = await store.cameras.list()
        active: dict[str, list[Event]] = {record.camera_id: [] for record in cameras}
        for event in (await store.event_index.page(_ACTIVE, limit=_MAX_ACTIVE)).records:
            active.setdefault(event.camera, []).append(event)
        return active

    receivers: list[Receiver] = list(map(Webhook, parse_webhooks(settings.webhooks or "")))
    if settings.mqtt_url is not None:
        receivers.append(
            MqttBroker(
                settings.mqtt_url,
                topic=settings.mqtt_topic,
                with_discovery=settings.mqtt_discovery,
                load_active=load_active,
            )
        )
    if not receivers:
        return
    told = process.metrics.counter(
        "notifications", "Tries to tell a receiver outside of an event", ("receiver", "result")
    )
    notifier = Notifier(
        store.feed,
        store.outbox,
        receivers,
        load=store.event_index.get,
        view=event_document,
        on_result=lambda receiver, result: told.labels(receiver, result).inc(),
    )
    process.life.spawn(notifier.run(), "notifications")


def _start_probes(process: _Process, port: int) -> str:
    app = FastAPI(openapi_url=None)
    app.include_router(probe_router(process.readiness, process.metrics))
    server = HttpServer(app, process.settings.metrics_host, port)
    server.start(process.life.spawn)
    process.life.on_stop(Phase.REFUSE, "probes", server.stop)
    process.life.on_stop(Phase.CLOSE, "probes", server.close)
    return server.url


async def _sweep(store: Store, settings: CloudSettings) -> None:
    """Remove what is too old or too much, and drop what no detector took in time."""
    await store.event_index.sweep(store.clock())
    removed = await store.retention.sweep()
    if removed:
        logger.info("retention removed %d frames", removed)
    dropped = await store.drop_expired()
    if dropped:
        logger.warning("%d frames expired before a detector took them", dropped)
    await store.work.release_held(settings.order_wait_seconds)  # with no detector left


async def _count_cameras(store: Store, metrics: IngestMetrics) -> None:
    states = Counter(camera.condition(store.clock()) for camera in await store.cameras.list())
    for condition in CameraCondition:
        metrics.cameras.labels(condition).set(states[condition])


async def _follow_files(process: _Process) -> None:
    """Go by the rules of the settings, and by the files of tokens and rules as they change."""
    settings, life, store = process.settings, process.life, process.store

    def parse(text: str) -> RulesTable:
        return parse_rules(text, process.models.detector.names)

    try:
        rules = parse(settings.rules or "")
    except ValueError as exc:
        raise SettingsError([f"rules (CLOUD_RULES): {exc}"]) from exc
    await store.rules.put_file(rules)
    life.spawn(repeat(process.tokens.look, LOOK_SECONDS), "tokens")
    broken = FileMetrics(process.metrics).broken
    of_tokens, of_rules = (broken.labels(file) for file in ("tokens", "rules"))
    if (path := settings.files.get("tokens")) is not None:
        table, take = settings.token_table, process.tokens.take_file
        life.spawn(follow_file(path, TokenTable.parse, table, take, of_tokens.set), "tokens' file")
    if (path := settings.files.get("rules")) is not None:
        life.spawn(follow_file(path, parse, rules, store.rules.put_file, of_rules.set), "rules")


def _announce(settings: CloudSettings, addresses: CloudAddresses, life: Lifecycle) -> None:
    path = settings.state_file
    if path is not None:
        addresses.write(path)
        life.on_stop(
            Phase.CLOSE, "state file", lambda: asyncio.to_thread(path.unlink, missing_ok=True)
        )
    logger.info(
        "ready: %s, role %s, cameras at %s, metrics at %s",
        addresses.http,  # first: the page, or where a process without one is asked for its health
        settings.role.value,
        addresses.grpc,
        addresses.metrics or addresses.http,
    )
