"""`slimwire edge` and `slimwire cloud`: run a service in the foreground.

Settings come from a configuration file, the environment (`EDGE_*`, `CLOUD_*`) and a few options;
the later wins. A wrong one stops the start with its name and exit code 78; `--settings` lists them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slimcli.extras import needs_extra
from slimcli.options import Config
from slimcli.output import say
from slimcloud.roles import Role

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings

ListSettings = Annotated[
    bool, typer.Option("--settings", help="List every setting of the environment, and stop.")
]


def register(app: typer.Typer) -> None:
    app.command()(edge)
    app.command()(cloud)


def edge(
    source: Annotated[
        str | None,
        typer.Option(help="Video file, directory of pictures, rtsp://..., /dev/videoN."),
    ] = None,
    cloud_address: Annotated[
        str | None, typer.Option("--cloud", metavar="HOST:PORT", help="Of the cloud's ingest.")
    ] = None,
    camera: Annotated[str | None, typer.Option(help="Name of this camera.")] = None,
    loop: Annotated[bool | None, typer.Option(help="Begin a file again at its end.")] = None,
    model: Annotated[str | None, typer.Option(help="Codec by name, or name/version.")] = None,
    models: Annotated[Path | None, typer.Option(metavar="DIR", help="Where it is.")] = None,
    config: Config = None,
    list_settings: ListSettings = False,
) -> None:
    """Stream a camera to the cloud. Runs until it ends or a signal comes."""
    import asyncio

    with needs_extra("edge", "edge"):
        from slimedge.app import run_edge
        from slimedge.settings import EdgeSettings
        from slimops.logs import configure_logging
        from slimops.settings import load_settings
        from slimops.tracing import configure_tracing

    if list_settings:
        _list(EdgeSettings)
        return
    settings = load_settings(
        EdgeSettings,
        _given(
            source=source,
            cloud_address=cloud_address,
            camera_id=camera,
            loop=loop,
            model=model,
            models_root=models,
        ),
        config=config,
    )
    configure_logging(form=settings.log_format)
    end_tracing = configure_tracing("slimwire-edge", settings.otlp_endpoint)
    try:
        asyncio.run(run_edge(settings, handle_signals=True))
    finally:
        end_tracing()


def cloud(
    role: Annotated[Role | None, typer.Option(help="What this process does.")] = None,
    redis_url: Annotated[
        str | None, typer.Option("--redis", metavar="URL", help="Not given: an embedded server.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Codec by name, or name/version.")] = None,
    models: Annotated[Path | None, typer.Option(metavar="DIR", help="Where it is.")] = None,
    config: Config = None,
    list_settings: ListSettings = False,
) -> None:
    """Take frames, detect, and serve the page. Runs until a signal comes."""
    import asyncio

    with needs_extra("cloud", "cloud"):
        from slimcloud.app import run_cloud
        from slimcloud.settings import CloudSettings
        from slimops.logs import configure_logging
        from slimops.settings import load_settings
        from slimops.tracing import configure_tracing

    if list_settings:
        _list(CloudSettings)
        return
    settings = load_settings(
        CloudSettings,
        _given(
            role=None if role is None else role.value,
            redis_url=redis_url,
            model=model,
            models_root=models,
        ),
        config=config,
    )
    configure_logging(settings.log_level, form=settings.log_format)
    end_tracing = configure_tracing(f"slimwire-{settings.role.value}", settings.otlp_endpoint)
    try:
        asyncio.run(run_cloud(settings))
    finally:
        end_tracing()


def _given(**options: object) -> dict[str, object]:
    """The options that were given; the others are the environment's, or have defaults."""
    return {name: value for name, value in options.items() if value is not None}


def _list(settings: type[BaseSettings]) -> None:
    prefix = settings.model_config.get("env_prefix", "")
    for name, field in settings.model_fields.items():
        default = "must be set" if field.is_required() else f"default {field.default}"
        say(f"{(prefix + name).upper()}: {field.description} ({default})")
