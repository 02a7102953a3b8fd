"""`slimwire demo`: its options, and what it prints at the end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from slimcli.exits import BadUsageError
from slimcli.extras import needs_extra
from slimcli.models import open_codec
from slimcli.options import Model, Models
from slimcli.output import say_json
from slimcodec.model.find import DEFAULT_MODEL

CAMERA = "demo"
DEFAULT_SECONDS = 20.0
# A camera on a modest uplink: at gigabits a second there is nothing for the controller to decide.
DEFAULT_UPLINK_KBIT = 1000.0
DEFAULT_ROUND_TRIP_SECONDS = 0.05  # of a replayed link: recordings have rates, no delays


def register(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    seconds: Annotated[
        float, typer.Option(min=0, help="Stream this long; 0: until Ctrl-C.")
    ] = DEFAULT_SECONDS,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|DIR|URL",
            help="Video file, directory of pictures, rtsp://... or /dev/videoN; not given: the "
            "sample video.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="End with one line of JSON, the only one on stdout.")
    ] = False,
    deadline: Annotated[
        float, typer.Option(min=0.05, max=600, help="Capture to detection to aim for, seconds.")
    ] = 1.0,
    uplink: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="KBIT",
            help=f"Simulated uplink, kbit/s; 0: no limit. [default: {DEFAULT_UPLINK_KBIT:.0f}]",
            show_default=False,
        ),
    ] = None,
    link: Annotated[
        str | None,
        typer.Option(
            metavar="TRACE",
            help="Replay a recorded link instead, and draw what the controller makes of it: a file "
            "(`time_s mbps`, or mahimahi's), or one that is built in: steps, hole, drive.",
        ),
    ] = None,
    round_trip: Annotated[
        float,
        typer.Option(min=0, max=5, metavar="SECONDS", help="Of the link of --link."),
    ] = DEFAULT_ROUND_TRIP_SECONDS,
    level: Annotated[int | None, typer.Option(min=0, help="Use only this width.")] = None,
    quality: Annotated[
        float | None, typer.Option(min=0, help="Use only this quality; fractions lie between.")
    ] = None,
    http_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of the review API; 0: a free one.")
    ] = 0,
    model: Model = DEFAULT_MODEL,
    models: Models = None,
) -> None:
    """Stream a video from an edge to a cloud on this machine, and watch."""
    import asyncio
    import logging

    with needs_extra("demo", "demo"):
        from rich.console import Console

        from slimcli.demo.cloud import CloudProcess
        from slimcli.demo.links import open_trace, utilities_of
        from slimcli.demo.play import Plan, play
        from slimcli.demo.summary import summary_json, summary_table
        from slimcli.demo.tally import Tally
        from slimedge.settings import EdgeSettings
        from slimlinks.trace import constant_trace
        from slimops import load_settings

    if link is not None and uplink is not None:
        raise BadUsageError("--link and --uplink are two links; give one of them")
    codec = open_codec(model, models)  # a wrong name is told before anything starts
    settings = load_settings(
        EdgeSettings,
        {
            "camera_id": CAMERA,
            "source": source or str(sample_video()),
            "loop": True,
            "model": model,
            "models_root": models,
            "deadline_ms": round(1000 * deadline),
            "expire_ms": max(10_000, round(1000 * deadline)),
            "level": level,
            "quality": quality,
            "measure_jpeg": True,
        },
    )
    kbit = DEFAULT_UPLINK_KBIT if uplink is None else uplink
    if link is not None:
        plan = Plan(settings, codec.label, seconds or None, open_trace(link), round_trip, True)
    else:
        trace = constant_trace(125 * kbit) if kbit else None
        plan = Plan(settings, codec.label, seconds or None, trace, 0.0, False)
    tally = Tally(deadline, utilities_of(codec, quality))
    console = Console(stderr=as_json)
    logging.getLogger().addHandler(logging.NullHandler())  # the screen says what matters
    with CloudProcess(model, models, http_port) as cloud:
        outcome = asyncio.run(play(plan, cloud, tally, console))
    if as_json:
        named = (kbit or None, None) if link is None else (None, link)
        say_json(summary_json(tally.totals, outcome.viewed, *named))
    else:
        console.print(summary_table(tally.totals, outcome.viewed, outcome.problem))


def sample_video() -> Path:
    """The video that ships with the program: in a checkout, or where a wheel puts it."""
    checkout = Path(__file__).resolve().parents[4] / "samples" / "street.mp4"
    installed = Path(sys.prefix) / "share" / "slimwire" / "samples" / "street.mp4"
    for path in (checkout, installed):
        if path.is_file():
            return path
    raise BadUsageError(f"the sample video is not at {installed}; give one with --source")
