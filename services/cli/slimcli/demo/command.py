"""`slimwire demo`: its options, and what it prints at the end."""

from typing import Annotated

import typer

from slimcli.exits import BadUsageError, UnavailableError, needs_extra
from slimcli.models import open_codec, open_detector
from slimcli.options import Model, Models
from slimcli.streams import say_json
from slimcodec.model.find import DEFAULT_MODEL, shipped

CAMERA = "demo"
SAMPLE_VIDEO = "samples/street.mp4"
DEFAULT_SECONDS = 20.0  # where no person watches
DEFAULT_PORT = 8080  # of the page, as of `slimwire cloud`
# A camera on a modest uplink: at gigabits a second there is nothing for the controller to decide.
DEFAULT_UPLINK_KBIT = 1000.0
DEFAULT_ROUND_TRIP_SECONDS = 0.05  # of a replayed link: recordings have rates, no delays


def demo(
    seconds: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Stream this long; 0: until Ctrl-C. [default: until Ctrl-C on a terminal, else "
            f"{DEFAULT_SECONDS:.0f}]",
            show_default=False,
        ),
    ] = None,
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
            help="Replay a recorded link instead: a file (`time_s mbps`, or mahimahi's), or one "
            "that is built in: steps, hole, drive.",
        ),
    ] = None,
    round_trip: Annotated[
        float, typer.Option(min=0, max=5, metavar="SECONDS", help="Of the link of --link.")
    ] = DEFAULT_ROUND_TRIP_SECONDS,
    level: Annotated[int | None, typer.Option(min=0, help="Use only this width.")] = None,
    quality: Annotated[
        float | None, typer.Option(min=0, help="Use only this quality; fractions lie between.")
    ] = None,
    http_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help=f"Of the page. [default: {DEFAULT_PORT}, or a free one where that is taken]",
            show_default=False,
        ),
    ] = None,
    model: Model = DEFAULT_MODEL,
    models: Models = None,
) -> None:
    """Stream a video from an edge to a cloud here, and watch. No frame is kept afterwards."""
    import asyncio
    import logging

    with needs_extra("demo", "demo"):
        from rich.console import Console

        from slimcli.demo.cloud import CloudProcess
        from slimcli.demo.plan import (
            HOST,
            Plan,
            check_point,
            check_source,
            known_street,
            listen,
            open_trace,
        )
        from slimcli.demo.play import play
        from slimcli.demo.summary import jpeg_line, summary_json, summary_lines
        from slimcli.demo.tally import Tally
        from slimedge.settings import EdgeSettings
        from slimlinks.trace import constant_trace
        from slimops.settings import load_settings

    # everything that may be wrong is told before anything starts
    if link is not None and uplink is not None:
        raise BadUsageError("--link and --uplink are two links; give one of them")
    kbit = DEFAULT_UPLINK_KBIT if uplink is None else uplink
    trace = constant_trace(125 * kbit) if kbit else None
    if link is not None:
        trace = open_trace(link)
    played = str(shipped(SAMPLE_VIDEO)) if source is None else source
    check_source(played)
    codec = open_codec(model, models)
    check_point(codec, level, quality)
    names = open_detector(codec, models).names
    settings = load_settings(
        EdgeSettings,
        {
            "camera_id": CAMERA,
            "source": played,
            "loop": True,
            "model": model,
            "models_root": models,
            "deadline_seconds": deadline,
            "expire_seconds": max(10.0, deadline),
            "level": level,
            "quality": quality,
        },
    )
    console = Console(stderr=as_json)
    if seconds is None:
        seconds = 0.0 if console.is_terminal else DEFAULT_SECONDS
    with listen(http_port, DEFAULT_PORT) as listener:
        plan = Plan(
            edge=settings,
            model=codec.label,
            page=f"http://{HOST}:{listener.getsockname()[1]}",
            seconds=seconds or None,
            link=trace,
            round_trip_seconds=0.0 if link is None else round_trip,
            is_replayed=link is not None,
            shown=known_street(names) if source is None else (),
            against_jpeg=jpeg_line(codec.manifest.fingerprint),
        )
        tally = Tally(deadline)
        logging.getLogger().addHandler(logging.NullHandler())  # the screen says what matters
        cloud = CloudProcess(model, models, listener, plan.shown)
        outcome = asyncio.run(play(plan, cloud, tally, console))
    if as_json:
        say_json(
            {
                "page": plan.page,
                "frames_per_second": outcome.rate,
                **summary_json(tally.totals, outcome.viewed),
                "uplink_kbit_per_second": None if link is not None else kbit or None,
                "link": link,
            }
        )
    else:
        for name, line in summary_lines(tally.totals, outcome.viewed, plan).items():
            console.print(f"{name:<9}  {line}", highlight=False, markup=False)
    if not (tally.totals.frames_detected or outcome.was_stopped):
        why = f"; link {tally.link.state}: {tally.link.detail}" if tally.link.detail else ""
        raise UnavailableError(f"nothing was detected{why}")
