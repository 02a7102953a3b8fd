"""`slimwire edge`, `process` and `cloud`: run a service in the foreground.

Settings come from a configuration file, the environment (`EDGE_*`, `CLOUD_*`) and a few options;
the later wins. A wrong one stops the start with its name and exit code 78; `--settings` lists them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from slimcli.exits import UnavailableError, needs_extra
from slimcli.options import Config
from slimcli.streams import say
from slimcloud.roles import Role

if TYPE_CHECKING:
    from slimcloud.settings import CloudSettings
    from slimedge.event import EdgeEvent
    from slimedge.memory.bookmark import Bookmark
    from slimedge.settings import EdgeSettings
    from slimops.settings import ServiceSettings

SettingsT = TypeVar("SettingsT", bound="ServiceSettings")
_TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]
ListSettings = Annotated[
    bool, typer.Option("--settings", help="List every setting of the environment, and stop.")
]


def edge(
    source: Annotated[
        str | None,
        typer.Option(help="Video file, directory of pictures, URL, /dev/videoN."),
    ] = None,
    cloud_address: Annotated[
        str | None, typer.Option("--cloud", metavar="HOST:PORT", help="Of the cloud's ingest.")
    ] = None,
    camera: Annotated[str | None, typer.Option(help="Name of this camera.")] = None,
    cameras: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML list of cameras, in place of one.")
    ] = None,
    loop: Annotated[bool | None, typer.Option(help="Begin a file again at its end.")] = None,
    model: Annotated[str | None, typer.Option(help="Codec by name, or name/version.")] = None,
    models: Annotated[Path | None, typer.Option(metavar="DIR", help="Where it is.")] = None,
    config: Config = None,
    list_settings: ListSettings = False,
) -> None:
    """Stream cameras to the cloud. Runs until they end or a signal comes."""
    import asyncio

    with needs_extra("edge", "edge"):
        from slimedge.app import run_cameras, run_edge
        from slimedge.camera_list import load_cameras
        from slimedge.settings import EdgeSettings

    if list_settings:
        _list(EdgeSettings)
        return
    given = _given(
        source=source,
        cloud_address=cloud_address,
        camera_id=camera,
        cameras=cameras,
        loop=loop,
        model=model,
        models_root=models,
    )
    each = load_cameras(given, config=config)
    with _logs_and_spans("edge", each[0]):
        if each[0].cameras is None:
            asyncio.run(run_edge(each[0], handle_signals=True))
        else:
            asyncio.run(run_cameras(each, handle_signals=True))


def process(
    recording: Annotated[
        Path, typer.Argument(metavar="FILE|DIR", help="A video file, or a directory of pictures.")
    ],
    cloud_address: Annotated[
        str | None, typer.Option("--cloud", metavar="HOST:PORT", help="Of the cloud's ingest.")
    ] = None,
    camera: Annotated[
        str | None, typer.Option(help="Under which name. [default: the file's]", show_default=False)
    ] = None,
    start: Annotated[
        datetime | None,
        typer.Option(
            metavar="TIME", formats=_TIMES, help="When it begins; not given: as the file says."
        ),
    ] = None,
    level: Annotated[int | None, typer.Option("--level", "-l", help="Use only this width.")] = None,
    quality: Annotated[
        float | None, typer.Option("--quality", "-q", help="Use only this quality.")
    ] = None,
    again: Annotated[bool, typer.Option(help="Send what was sent before, too.")] = False,
    config: Config = None,
) -> None:
    """Send every frame of a recording to the cloud. Stopped and started again, it goes on."""
    import asyncio

    with needs_extra("edge", "process"):
        from slimedge.app import run_edge
        from slimedge.memory.bookmark import Bookmark
        from slimedge.settings import EdgeSettings
        from slimops.user_folder import user_folder

    state = user_folder("XDG_STATE_HOME", ".local/state")
    if state is None:
        raise UnavailableError("there is no home to keep the place in; set XDG_STATE_HOME")
    settings = _load(
        EdgeSettings,
        config,
        source=str(recording),
        cloud_address=cloud_address,
        camera_id=camera or re.sub(r"[^A-Za-z0-9._-]", "-", recording.resolve().stem)[:64],
        level=level,
        quality=quality,
        loop=False,
        deadline_seconds=0,
        expire_seconds=0,
    ).model_copy(update={"spool_folder": None, "http_port": None})  # those of a camera beside it
    start_unix = None if start is None else start.timestamp()
    bookmark = Bookmark.open(state / "process", settings, start_unix, again=again)
    if bookmark.frames:
        say(f"{recording}: goes on behind {bookmark.frames} frames; --again begins with the first")
    progress = _Progress(bookmark)
    with _logs_and_spans("edge", settings, "WARNING"), progress.bar:
        totals = asyncio.run(run_edge(settings, progress, recording=bookmark, handle_signals=True))
    say(f"{recording}: {totals}")


class _Progress:
    """An observer that shows, on a terminal, how much of a recording the cloud has."""

    def __init__(self, bookmark: Bookmark) -> None:
        self._bookmark = bookmark
        self.bar = typer.progressbar(
            length=0, file=sys.stderr, hidden=not sys.stderr.isatty(), show_pos=True
        )

    def notify(self, event: EdgeEvent) -> None:
        self.bar.length = self._bookmark.total
        self.bar.update(self._bookmark.frames - self.bar.pos)


def cloud(
    role: Annotated[Role | None, typer.Option(help="What this process does.")] = None,
    redis_url: Annotated[
        str | None, typer.Option("--redis", metavar="URL", help="Not given: an embedded server.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where the embedded server keeps what it holds. [default: slimwire/cloud in "
            "XDG_STATE_HOME, or in ~/.local/state]",
            show_default=False,
        ),
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

    if list_settings:
        _list(CloudSettings)
        return
    settings = _load(
        CloudSettings,
        config,
        role=role,
        redis_url=redis_url,
        data=data,
        model=model,
        models_root=models,
    )
    with _logs_and_spans(settings.role.value, settings, settings.log_level):
        asyncio.run(run_cloud(settings))


def _load(settings_class: type[SettingsT], config: Path | None, **options: object) -> SettingsT:
    """The settings of a service; options that were not given are the environment's, or defaults."""
    from slimops.settings import load_settings

    return load_settings(settings_class, _given(**options), config=config)


def _given(**options: object) -> dict[str, object]:
    return {name: value for name, value in options.items() if value is not None}


@contextmanager
def _logs_and_spans(
    name: str, settings: EdgeSettings | CloudSettings, level: str = "INFO"
) -> Iterator[None]:
    """Logs while a service runs, and spans where somebody collects them."""
    from slimops.logs import configure_logging
    from slimops.tracing import configure_tracing

    configure_logging(level, form=settings.log_format)
    end_tracing = configure_tracing(f"slimwire-{name}", settings.otlp_endpoint)
    try:
        yield
    finally:
        end_tracing()


def _list(settings: type[ServiceSettings]) -> None:
    for name, field in settings.model_fields.items():
        default = "must be set" if field.is_required() else f"default {field.default}"
        say(f"{(settings.env_prefix + name).upper()}: {field.description} ({default})")
