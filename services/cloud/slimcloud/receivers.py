"""Who outside is told of events: a list of webhooks, in YAML.

- name: phone
  url: https://home.example/hook
  secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw      # of Standard Webhooks
  cameras: [gate-1]                                  # and labels, zones, severities; all if none
  history: true                                      # also what came late, for the record
"""

import base64
import binascii
from typing import Annotated

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
)

from slimcloud.zones.rules import Severity

SECRET_PREFIX = "whsec_"
MAX_WEBHOOKS = 16  # each holds a connection to Redis


def _check_secret(secret: SecretStr) -> SecretStr:
    try:
        key = secret_key(secret)
    except (binascii.Error, ValueError):
        key = b""
    if not 24 <= len(key) <= 64:
        raise ValueError(f"expected {SECRET_PREFIX} and 24 to 64 random bytes in base64")
    return secret


def secret_key(secret: SecretStr) -> bytes:
    """The bytes that a secret spells."""
    text = secret.get_secret_value()
    return base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)


class WebhookTarget(BaseModel):
    """One receiver. Of events it is told those for which every condition that is set holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")  # of its queue, and in dead letters
    url: str = Field(pattern=r"^https?://[^\s@/]+(/\S*)?$")
    secret: Annotated[SecretStr, AfterValidator(_check_secret)]
    cameras: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()  # any of them
    zones: tuple[str, ...] = ()  # any of them
    severities: tuple[Severity, ...] = ()
    history: bool = False  # also events that are made of what came late
    max_tries: int = Field(default=12, ge=1, le=50)  # about nine minutes, then a dead letter


_TARGETS = TypeAdapter(Annotated[tuple[WebhookTarget, ...], Field(max_length=MAX_WEBHOOKS)])


def parse_webhooks(text: str) -> tuple[WebhookTarget, ...]:
    """Read the list.

    Raises:
        ValueError: something in it is wrong; the message names it, and repeats no secret.
    """
    try:
        targets = _TARGETS.validate_python(yaml.safe_load(text) or [])
    except yaml.YAMLError as exc:
        mark = exc.problem_mark if isinstance(exc, yaml.MarkedYAMLError) else None
        where = f", line {mark.line + 1}" if mark else ""
        raise ValueError(f"webhooks{where}: no YAML") from None
    except ValidationError as exc:
        found = [f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in exc.errors()]
        raise ValueError(f"webhooks: {'; '.join(found)}") from None
    names = [target.name for target in targets]
    if len(set(names)) < len(names):
        raise ValueError("webhooks: two have one name")
    return targets
