"""The settings of one camera: environment variables `EDGE_*`, arguments, or an entry of a list.

An unknown or impossible setting stops the start and is named.
"""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, FilePath, model_validator

from slimcodec.context.changes import DEFAULT_HYSTERESIS
from slimcodec.model.find import DEFAULT_MODEL
from slimcodec.sequence import KEY_SECONDS
from slimops.address import check_host_port, host_of, is_loopback
from slimops.logs import LogFormat
from slimops.settings import ServiceSettings


class EdgeSettings(ServiceSettings):
    """Everything that a person may choose about one camera."""

    env_prefix = "EDGE_"

    cloud_address: Annotated[str, AfterValidator(check_host_port)] = "127.0.0.1:50051"
    """host:port of the cloud's gRPC ingest"""
    camera_id: str = Field(default="camera", pattern=r"^[A-Za-z0-9._-]{1,64}$")
    """name of this camera, unique at the cloud"""
    cameras: FilePath | None = None
    """YAML list of cameras that this process serves together"""
    source: str = Field(min_length=1)
    """video file, directory of pictures, rtsp://..., http://..., or /dev/videoN"""
    source_options: str = Field(default="", pattern=r"^(\w+=[^,]*(,\w+=[^,]*)*)?$")
    """FFmpeg's for the source, as rtsp_transport=udp,probesize=500000"""
    source_timeout_seconds: float = Field(default=5.0, gt=0, le=600)
    """a camera that is silent for so long is lost, s"""
    snapshot_seconds: float | None = Field(default=None, gt=0, le=86_400)
    """the URL gives one picture; ask again after, s"""
    loop: bool = False
    """begin a file or directory again at its end"""
    picture_fps: float = Field(default=2.0, gt=0, le=60)
    """pictures per second from a directory"""
    keep_damaged: bool = False
    """send pictures, too, that the decoder knows to be damaged"""
    max_edge: int | None = Field(default=None, ge=32, le=8192)
    """longest edge after scaling down, pixels"""

    model: str = DEFAULT_MODEL
    """codec model: name, or name/version"""
    models_root: Path | None = None
    """directory of models; else SLIMWIRE_MODELS, else the built-in"""
    encoder_threads: int | None = Field(default=None, ge=1, le=64)
    """threads of the encoder; all cores when not set"""
    cpu_share: float | None = Field(default=None, gt=0, le=1)
    """encode seconds per second to use at most; narrower levels, then fewer frames"""
    cache_folder: Path | None = None
    """directory for what encoding takes on this device; not set = the user's cache"""

    deadline_seconds: float = Field(default=1.0, ge=0, le=600)
    """capture to detection to aim for, s; 0 = none"""
    expire_seconds: float = Field(default=10.0, ge=0, le=600)
    """age at which a frame is worthless, s; 0 = never"""
    max_fps: float = Field(default=10.0, gt=0, le=120)
    """frames per second at most"""
    level: int | None = Field(default=None, ge=0, le=15)
    """use only this width level"""
    quality: float | None = Field(default=None, ge=0, le=15)
    """use only this quality; fractions lie between"""

    max_level: int | None = Field(default=None, ge=0, le=15)
    """widest level sent unasked; wider on a refetch only"""
    reference_depth: int = Field(default=8, ge=0, le=1023)
    """frames to be decoded before one, at most, as far as the cloud allows; 0 = each alone"""
    byte_price: float = Field(default=0.1, ge=0, le=1)
    """accuracy (1 = that of the untouched picture) that 2.7 times the bytes must buy"""
    # the cloud refuses a live frame that descends from one of more than an hour ago
    key_seconds: float = Field(default=KEY_SECONDS, gt=0, le=1800)
    """from one frame that decodes alone to the next, s"""

    change_gain: float = Field(default=DEFAULT_HYSTERESIS.change_gain, ge=0, le=1)
    """a place of 16 x 16 pixels is coded anew where its symbols' squared error falls by more"""
    keep_threshold: float = Field(default=DEFAULT_HYSTERESIS.keep_threshold, ge=0.5, le=1)
    """there, symbols no further off than this stay; more of both: fewer bytes, less seen"""

    ring_frames: int = Field(default=100_000, ge=1, le=1_000_000)
    """recent frames kept for a refetch, at most"""
    ring_bytes: int = Field(default=256 * 2**20, ge=2**20)
    """memory of those frames, bytes; in the spool's folder where there is one"""
    answer_seconds: float = Field(default=10.0, gt=0, le=600)
    """without an answer to what was sent for so long, the stream is made anew, s"""
    reconnect_min_seconds: float = Field(default=0.5, gt=0, le=60)
    """first bound of the random wait before a reconnect"""
    reconnect_max_seconds: float = Field(default=30.0, gt=0, le=600)
    """last bound of that wait"""
    drain_seconds: float = Field(default=5.0, ge=0, le=60)
    """at the end of a file: wait this long at most for the last detections"""

    http_host: str = "127.0.0.1"
    """address of /metrics and /livez"""
    http_port: int | None = Field(default=None, ge=0, le=65535)
    """their port; 0 = any free one; not set = none"""
    spool_folder: Path | None = None
    """directory for frames of an outage, sent later; not set = they are lost"""
    spool_bytes: int = Field(default=512 * 2**20, ge=2**20)
    """disk of those frames; beyond it the oldest go, bytes"""
    spool_age_seconds: float = Field(default=259_200.0, gt=0)
    """frames kept for longer while the edge runs are given up, s"""
    spool_fps: float = Field(default=1.0, gt=0, le=120)
    """frames per second while the link is down, at most"""
    budget_bytes: int = Field(default=0, ge=0)
    """bytes of IP packets, both ways, in each period, in the long run; 0 = no budget"""
    budget_seconds: int = Field(default=86_400, ge=1, le=2_678_400)
    """that period, s"""

    log_format: LogFormat = "auto"
    """json, text, or auto: text on a terminal, JSON elsewhere"""
    otlp_endpoint: str | None = Field(default=None, pattern=r"^https?://")
    """OTLP collector for spans of frames, as http://host:4317; needs the extra otel"""

    # --- security ---
    tls_ca: FilePath | None = None
    """PEM certificates that sign the cloud's; not set = plaintext"""
    tls_cert: FilePath | None = None
    """PEM certificate of this camera, where the cloud asks for one"""
    tls_key: FilePath | None = None
    """its PEM private key"""
    token: str | None = Field(
        default=None,
        min_length=16,
        pattern=r"^[\x21-\x7e]+$",
        repr=False,
        json_schema_extra={"writeOnly": True},
    )
    """token of this camera, where the cloud asks for one; better EDGE_TOKEN_FILE"""
    allow_plaintext: bool = False
    """send frames and token beyond loopback without TLS: a private network only"""

    @model_validator(mode="after")
    def _check_security(self) -> Self:
        if (self.tls_cert is None) is not (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together; set both or neither")
        if self.tls_cert is not None and self.tls_ca is None:
            raise ValueError("tls_cert needs tls_ca: a certificate is shown over TLS only")
        beyond = not is_loopback(host_of(self.cloud_address))
        if beyond and self.tls_ca is None and not self.allow_plaintext:
            raise ValueError(
                f"cloud_address {self.cloud_address} is beyond loopback and tls_ca is not set; set "
                "it, or allow_plaintext on a private network"
            )
        return self

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.reconnect_min_seconds > self.reconnect_max_seconds:
            raise ValueError(
                f"reconnect_min_seconds {self.reconnect_min_seconds} is above "
                f"reconnect_max_seconds {self.reconnect_max_seconds}"
            )
        if 0 < self.expire_seconds < self.deadline_seconds:
            raise ValueError(
                f"expire_seconds {self.expire_seconds} is below deadline_seconds "
                f"{self.deadline_seconds}: frames would be thrown away before they are late"
            )
        return self
