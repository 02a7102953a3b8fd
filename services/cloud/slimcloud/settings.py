"""The settings of a cloud process: a file, variables `CLOUD_*`, or arguments.

A wrong or unknown one stops the start with exit code 78 and its name (see `slimops.settings`).
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, FilePath, field_validator, model_validator

from slimcloud.receivers import parse_webhooks
from slimcloud.roles import AccessRole, Role
from slimcloud.sign_on import SignOn
from slimcloud.tokens import TokenTable
from slimcloud.zones.file import parse_rules
from slimcodec.model.find import DEFAULT_MODEL
from slimops.address import check_encoded, is_loopback
from slimops.logs import LogFormat
from slimops.settings import ServiceSettings
from slimops.storage.durability import Durability

_HEADER = r"^[A-Za-z0-9-]+$"


def split_words(text: str | None) -> list[str]:
    """What stands with commas between; nothing where nothing is said."""
    return [word for part in (text or "").split(",") if (word := part.strip())]


class CloudSettings(ServiceSettings):
    """Everything that a person may choose about one cloud process."""

    env_prefix = "CLOUD_"

    role: Role = Role.ALL
    """ingest, detect, review, or all of them"""

    # --- models ---
    model: str = DEFAULT_MODEL
    """codec model: name, or name/version"""
    models_root: Path | None = None
    """directory of models; else SLIMWIRE_MODELS, else the built-in"""
    precision: Literal["auto", "f32", "bf16"] = "auto"
    """arithmetic of the graphs; auto = bf16 where the CPU has it"""
    detector_threads: int | None = Field(default=None, ge=1, le=256)
    """threads of the detector; all cores when not set"""

    # --- where it listens ---
    grpc_host: str = "127.0.0.1"
    """address for cameras"""
    grpc_port: int = Field(default=50051, ge=0, le=65535)
    """their port; 0 = a free one"""
    http_host: str = "127.0.0.1"
    """address of the review API"""
    http_port: int = Field(default=8080, ge=0, le=65535)
    """its port; 0 = a free one"""
    http_socket: int | None = Field(
        default=None,
        ge=3,
        description="file descriptor of a listening socket that the process inherits: the review "
        "API is served on it, not on a port of its own",
    )
    metrics_host: str = "127.0.0.1"
    """address of /livez, /readyz and /metrics by themselves"""
    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    """its port; 0 = a free one; not set = only the review API serves /metrics"""
    state_file: Path | None = None
    """JSON file for the bound addresses, written when ready"""

    allowed_hosts: str | None = Field(
        default=None,
        max_length=2000,
        description="names by which people reach an API without tokens, with commas between; "
        "localhost and addresses always serve",
    )
    trusted_proxies: str | None = Field(
        default=None,
        max_length=2000,
        description="addresses and networks of proxies whose X-Forwarded-For and X-Forwarded-Proto "
        "are believed, with commas between",
    )
    http_root_path: str | None = Field(
        default=None, pattern=r"^(/[A-Za-z0-9._~-]+)+$", max_length=200
    )
    """path below which a proxy has page and API, as /slimwire"""
    sign_on_header: str | None = Field(default=None, pattern=_HEADER, max_length=64)
    """header in which such a proxy names who is signed on, as X-Remote-User"""
    sign_on_role: Literal["viewer", "reviewer", "admin"] = "viewer"
    """role of who is signed on, where no header says one"""
    sign_on_role_header: str | None = Field(default=None, pattern=_HEADER, max_length=64)
    """header of roles, with commas between; the highest counts"""

    # --- what it remembers ---
    redis_url: Annotated[str, AfterValidator(check_encoded)] | None = Field(
        default=None, pattern=r"^(redis|rediss|unix)://"
    )
    """redis://, rediss:// or unix:// URL; not set = an embedded server of our own"""
    redis_wait_seconds: float = Field(default=30.0, ge=0, le=3600)
    """at the start a Redis that does not answer yet is waited for so long, s"""
    data: Path | None = Field(
        default=None,
        description="directory in which the embedded Redis keeps what it holds; not set = "
        "slimwire/cloud in XDG_STATE_HOME, or in ~/.local/state",
    )
    durability: Durability = Field(
        default=Durability.SECOND,
        description="what PERSISTED survives: second = the end of a process, always = the "
        "machine's, too; of a Redis of your own it is checked at the start",
    )
    embedded_memory_bytes: int = Field(default=512 * 2**20, ge=16 * 2**20)
    """maxmemory of the embedded Redis, bytes"""
    retention_seconds: int = Field(default=24 * 3600, ge=1, le=366 * 24 * 3600)
    """a frame is kept this long, s"""
    max_stored_bytes: int = Field(default=384 * 2**20, ge=2**20)
    """containers and results kept, and 1400 for each frame; beyond it the oldest go, bytes"""
    max_event_bytes: int = Field(default=64 * 2**20, ge=2**16)
    """of these, for events with their pictures, bytes"""
    event_alert_days: float = Field(default=30.0, gt=0, le=3660)
    """an alert is kept this long; rules of its camera may differ, days"""
    event_detection_days: float = Field(default=10.0, gt=0, le=3660)
    """as long any other event, days"""
    sweep_seconds: float = Field(default=5.0, gt=0, le=3600)
    """pause between two sweeps of retention, s"""

    rules: str | None = None
    """YAML of what is reported of which camera; better CLOUD_RULES_FILE, which is followed"""

    # --- ingest ---
    credit_bytes: int = Field(default=64 * 2**10, ge=1024, le=2**30)
    """container bytes that a camera may have under way, bytes"""
    max_frame_bytes: int = Field(default=2**20, ge=1024, le=2**24)
    """larger containers get a Nack, bytes"""
    max_pixels: int = Field(default=2**22, ge=1024, le=2**26)
    """larger pictures get a Nack, pixels"""
    max_cameras: int = Field(default=300, ge=1, le=100_000)
    """streams at the same time, one a camera; 2.2 MB each at worst: 100 for all roles in 2 GB"""
    max_queue_size: int = Field(default=500, ge=1, le=10**6)
    """live frames that may wait for the detector, and as many of backfill"""
    max_reference_depth: int = Field(
        default=8,
        ge=0,
        le=64,
        description="frames that a frame may need to be decoded, one after the other; 0 = each "
        "decodes alone",
    )

    # --- detect: names and meanings as in Triton's dynamic batcher ---
    max_batch_size: int = Field(default=4, ge=1, le=64)
    """frames of one size that run together, frames; fewer of large ones"""
    max_queue_delay_seconds: float = Field(default=0.005, ge=0, le=1)
    """a frame waits this long for company, s"""
    min_score: float | None = Field(
        default=None,
        ge=0.001,
        le=1,
        description="detections of any class below it are not kept, 0 to 1; the model's own "
        "threshold of each class when not set",
    )
    detect_labels: str | None = Field(
        default=None,
        max_length=2000,
        description="labels of detections to keep, with commas between; not set = all that the "
        "model has a threshold for",
    )
    triage: Literal["off", "detect", "enhance"] = Field(
        default="off",
        description="look at the narrowest latent first and leave quiet frames at that; the others "
        "are detected from what was sent, or from the enhancement, asked of the camera at once",
    )
    triage_threshold: float | None = Field(default=None, ge=0, le=1)
    """presence below it is quiet, 0 to 1; the model's own when not set"""
    triage_labels: str | None = Field(default=None, max_length=2000)
    """labels of interest, with commas between; the model's own when not set"""
    triage_level: int | None = Field(default=None, ge=1, le=15)
    """level that `enhance` asks for; the widest when not set"""
    triage_wait_seconds: float = Field(
        default=2.0,
        gt=0,
        le=60,
        description="an enhancement later than this is not waited for, s; half the time left at "
        "most, for a frame with a deadline",
    )
    queue_timeout_seconds: float | None = Field(
        default=None,
        ge=0.1,
        le=24 * 3600,
        description="a live frame without a deadline of its own is dropped after waiting so long, "
        "s; not set = never",
    )
    order_wait_seconds: float = Field(default=1.0, ge=0, le=60)
    """a result waits so long at most for that of an earlier frame of its camera, s"""
    max_deliveries: int = Field(default=5, ge=1, le=100)
    """tries before a frame goes to the dead letters"""
    reclaim_idle_seconds: float = Field(default=30.0, gt=0, le=3600)
    """a worker this silent has lost its work, s"""

    # --- who is told of events ---
    webhooks: str | None = Field(
        default=None,
        repr=False,
        json_schema_extra={"writeOnly": True},
        description="receivers in YAML; better CLOUD_WEBHOOKS_FILE",
    )
    mqtt_url: Annotated[str, AfterValidator(check_encoded)] | None = Field(
        default=None, pattern=r"^mqtts?://[^/]", repr=False, json_schema_extra={"writeOnly": True}
    )
    """mqtt:// or mqtts:// URL of a broker"""
    mqtt_topic: str = Field(default="slimwire", pattern=r"^[^+#\s/]{1,64}(/[^+#\s/]{1,64})*$")
    """its topics begin so"""
    mqtt_discovery: bool = True
    """tell Home Assistant, too"""

    # --- stop ---
    stop_seconds: float = Field(default=4.0, ge=0, le=300)
    """to refuse and drain at a stop, s"""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """least level that is logged"""
    log_format: LogFormat = "auto"
    """json, text, or auto: text on a terminal, JSON elsewhere"""

    otlp_endpoint: str | None = Field(default=None, pattern=r"^https?://")
    """OTLP collector for spans of frames, as http://host:4317; needs the extra otel"""

    # --- security ---
    tls_cert: FilePath | None = None
    """PEM certificates shown to cameras and people; not set = plaintext"""
    tls_key: FilePath | None = None
    """the PEM private key of the first"""
    camera_ca: FilePath | None = None
    """PEM certificates that sign those of cameras; set = a camera needs its own"""
    tokens: str | None = Field(default=None, repr=False, json_schema_extra={"writeOnly": True})
    """table of tokens, see `slimwire token`; better CLOUD_TOKENS_FILE"""
    allow_plaintext: bool = False
    """listen beyond loopback without TLS: a private network, or a proxy that has it"""
    allow_anonymous: bool = False
    """listen beyond loopback for cameras and people that prove nothing"""

    @property
    def token_table(self) -> TokenTable:
        """The tokens, parsed; without any where none are configured."""
        return TokenTable.parse(self.tokens or "")

    @property
    def sign_on(self) -> SignOn | None:
        """How a proxy tells who is signed on; None where none does."""
        if self.sign_on_header is None:
            return None
        role = AccessRole(self.sign_on_role)
        return SignOn(self.sign_on_header, role, self.sign_on_role_header)

    @property
    def asks_people(self) -> bool:
        """Whether people have to say who they are."""
        return self.token_table.has_people or self.sign_on is not None

    @property
    def asks_for_camera_tokens(self) -> bool:
        """Whether a camera needs a token: some are in the table, or an admin is to make them."""
        table = self.token_table
        is_open = is_loopback(self.grpc_host) or self.allow_anonymous
        return table.has_cameras or (table.has_admins and not is_open)

    @field_validator("rules")
    @classmethod
    def _check_rules(cls, text: str | None) -> str | None:
        parse_rules(text or "")
        return text

    @field_validator("webhooks")
    @classmethod
    def _check_webhooks(cls, text: str | None) -> str | None:
        parse_webhooks(text or "")
        return text

    @model_validator(mode="after")
    def _check_security(self) -> Self:
        if (self.tls_cert is None) is not (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together; set both or neither")
        if self.camera_ca is not None and self.tls_cert is None:
            raise ValueError("camera_ca needs tls_cert: cameras show certificates over TLS only")
        proxies = split_words(self.trusted_proxies)
        if self.sign_on is not None and (not proxies or "*" in proxies):
            raise ValueError("sign_on_header needs the addresses of its proxies in trusted_proxies")
        listens = (
            (
                Role.INGEST,
                "grpc_host",
                self.grpc_host,
                self.asks_for_camera_tokens or self.camera_ca,
            ),
            (Role.REVIEW, "http_host", self.http_host, self.asks_people),
        )
        for role, name, host, proven in listens:
            if not self.role.includes(role) or is_loopback(host):
                continue
            if self.tls_cert is None and not self.allow_plaintext:
                raise ValueError(
                    f"{name} {host} is beyond loopback and tls_cert is not set; set it, or "
                    "allow_plaintext on a private network"
                )
            if not proven and not self.allow_anonymous:
                raise ValueError(
                    f"{name} {host} is beyond loopback and nobody has to prove who they are; set "
                    "tokens_file, camera_ca for cameras, or allow_anonymous"
                )
        return self

    @model_validator(mode="after")
    def _check_memory(self) -> Self:
        if self.redis_url is None and self.role is not Role.ALL:
            raise ValueError(
                f"role {self.role.value} needs the Redis of the others: set redis_url "
                "(CLOUD_REDIS_URL); the embedded one is for one process with role all"
            )
        if self.redis_url is None and self.max_stored_bytes > 0.75 * self.embedded_memory_bytes:
            raise ValueError(
                f"max_stored_bytes {self.max_stored_bytes} is above three quarters of "
                f"embedded_memory_bytes {self.embedded_memory_bytes}: Redis would be full first"
            )
        return self
