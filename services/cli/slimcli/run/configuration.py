"""`slimwire config`: check, show and describe the settings of a service.

They see what a service sees at its start: the configuration file, under the environment. The file
is only ever read.
"""

from __future__ import annotations

import enum
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slimcli.exits import BadUsageError, needs_extra
from slimcli.options import Config
from slimcli.streams import say

if TYPE_CHECKING:
    from slimops.settings import ServiceSettings


class Service(enum.Enum):
    """What has settings, named as its section of the file."""

    CLOUD = "cloud"
    EDGE = "edge"


Services = Annotated[
    list[Service] | None,
    typer.Option("--service", help="Of this one; not given: those with a section in the file."),
]

configuration = typer.Typer(help="Check, show and describe settings.", no_args_is_help=True)


@configuration.command()
def check(config: Config = None, service: Services = None) -> None:
    """Say whether services would start. Exit code 78 when one would not."""
    with needs_extra("cloud", "config"):
        from slimops.errors import SettingsError

    problems: list[str] = []
    for name in _services(config, service):
        try:
            for settings in _load(name, config):
                say(f"{name.value}: in order, {len(settings.origins)} settings given")
        except SettingsError as exc:
            problems += exc.problems
    if problems:
        raise SettingsError(problems)


@configuration.command()
def show(config: Config = None, service: Services = None) -> None:
    """Print every setting and where it comes from. As YAML; secrets are masked."""
    each = [
        (name, settings) for name in _services(config, service) for settings in _load(name, config)
    ]
    for name, settings in each:
        say(f"{name.value}:")
        fields = type(settings).model_fields
        for key, value in settings.model_dump(mode="json").items():
            extra = fields[key].json_schema_extra
            secret = isinstance(extra, dict) and extra.get("writeOnly") is True
            shown = json.dumps(_masked(value, secret=secret), ensure_ascii=False)
            say(f"  {key}: {shown}  # {settings.origins.get(key, 'default')}")


@configuration.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    sections = {
        service.value: _settings_class(service).model_json_schema() | {"required": []}
        for service in Service
    }
    described = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "slimwire configuration",
        "type": "object",
        "properties": sections,
        "additionalProperties": False,
    }
    say(json.dumps(described, indent=2))


def _services(config: Path | None, wanted: list[Service] | None) -> list[Service]:
    """Those that are meant: the wanted ones, or all that have a section in the file."""
    with needs_extra("cloud", "config"):
        from slimops.settings import config_path, read_config

    if wanted:
        return wanted
    config = config or config_path(os.environ)
    if config is None:
        raise BadUsageError("give a --config file, a --service, or both")
    return [Service(name) for name in read_config(config)]


def _load(service: Service, config: Path | None) -> Sequence[ServiceSettings]:
    """One, or those of each camera."""
    from slimops.settings import load_settings

    settings_class = _settings_class(service)
    if service is Service.CLOUD:
        return (load_settings(settings_class, config=config),)
    from slimedge.camera_list import load_cameras

    return load_cameras(config=config)


def _settings_class(service: Service) -> type[ServiceSettings]:
    with needs_extra(service.value, "config"):
        if service is Service.CLOUD:
            from slimcloud.settings import CloudSettings

            return CloudSettings
        from slimedge.settings import EdgeSettings

        return EdgeSettings


def _masked(value: object, *, secret: bool) -> object:
    from slimops.address import MASK, without_passwords

    if value is None:
        return None
    if secret:
        return MASK
    return without_passwords(value) if isinstance(value, str) else value
