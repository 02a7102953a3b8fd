"""`python -m studies.controller simulate`: the controller and its rivals on recorded links."""

from __future__ import annotations

import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slimcli.command_line import command_line
from slimcli.exits import BadUsageError
from slimcli.models import open_codec
from slimcli.options import AsJson, Model, Models
from slimcli.streams import say, say_json
from slimcodec.model.find import DEFAULT_MODEL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slimlinks.trace import Trace
    from studies.controller.comparison.contender import Contender
    from studies.controller.comparison.setting import Setting
    from studies.controller.comparison.summary import Figures

HALVES = ("reported", "tuning", "all")


def register(app: typer.Typer) -> None:
    app.command()(simulate)


def simulate(
    traces: Annotated[
        Path | None,
        typer.Option(
            "--traces",
            metavar="DIR",
            exists=True,
            help="Recorded links, a file or a folder of families; not given: links made up here.",
        ),
    ] = None,
    half: Annotated[
        str,
        typer.Option(
            metavar="|".join(HALVES),
            help="Of the links, by the MD5 of the file name; constants are tuned on the other.",
        ),
    ] = "all",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only so many links of each family.")
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy",
            metavar="NAME",
            help="May be repeated; not given: the controller and the baselines. `fixed` is every "
            "point for ever, `all` is everything.",
        ),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--setting", metavar="a|b|c", help="Of the study; may be repeated."),
    ] = None,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Of a picture, pixels.")] = None,
    fps: Annotated[
        float | None, typer.Option(min=0.1, help="Pictures a second of the camera.")
    ] = None,
    deadline: Annotated[
        float | None, typer.Option(min=0.01, help="Seconds from capture to detection.")
    ] = None,
    round_trip: Annotated[
        float | None, typer.Option(min=0.0, help="Seconds, besides the bytes.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(min=1.0, help="Bytes per second in the long run.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=1.0, help="Of each link, from its beginning.")
    ] = 120.0,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="For the report and its numbers.")
    ] = None,
    plots: Annotated[
        bool, typer.Option("--plots", help="Draw, too, with --out (extra `train`).")
    ] = False,
    oracle: Annotated[
        bool,
        typer.Option(
            "--oracle/--no-oracle", help="Compute upper bounds that DIR/bounds.json has not (slow)."
        ),
    ] = True,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Not given: one for each processor.")
    ] = None,
    content: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="What `record` made of a video; not given: the sample video's.",
        ),
    ] = None,
    alone: Annotated[
        bool,
        typer.Option("--alone", help="Each frame is coded alone, though FILE has references."),
    ] = False,
    model: Model = DEFAULT_MODEL,
    models: Models = None,
    as_json: AsJson = False,
) -> None:
    """Simulate the edge's controller and its rivals on links, and tell how they fared."""
    from studies.controller.bound.known_bounds import KnownBounds
    from studies.controller.comparison.codec_figures import MODEL, classic_figures, model_figures
    from studies.controller.comparison.contender import LADDERS, find_contenders
    from studies.controller.comparison.json_value import json_value
    from studies.controller.comparison.study import run_study
    from studies.controller.comparison.summary import summarise_rows
    from studies.controller.simulation.content import load_street, read_content

    if half not in HALVES:
        raise BadUsageError(f"--half {half}: expected one of {', '.join(HALVES)}")
    if plots and out is None:
        raise BadUsageError("--plots needs --out, a folder to draw into")
    own = {
        "size": size,
        "fps": fps,
        "deadline": deadline,
        "round_trip": round_trip,
        "budget": budget,
    }
    settings = _settings(setting, own, seconds)
    links = _links(traces, half, limit)
    artifact = open_codec(model, models)
    manifest = artifact.manifest
    recording = load_street() if content is None else read_content(content)
    figures = model_figures(
        manifest.levels,
        manifest.qualities,
        artifact.profile,
        recording.alone if alone else recording,
    )
    codecs = {MODEL: figures, **{name: classic_figures(name) for name in LADDERS}}
    chosen = _contenders(find_contenders(figures.points), policy)
    rows = run_study(
        links,
        settings,
        chosen,
        codecs,
        processes=processes or os.cpu_count() or 1,
        bounds=KnownBounds(out / "bounds.json" if out else None, may_grow=oracle),
    )
    summary = summarise_rows(rows)
    if as_json:
        for one in summary:
            say_json(json_value(asdict(one)))
    else:
        _say(summary)
    if out is not None:
        from studies.controller.comparison.report import write_report

        command = command_line("python -m studies.controller")
        write_report(out, rows, summary, settings, chosen, codecs, command)
        if plots:
            from studies.controller.comparison.plots import write_plots

            write_plots(out, rows, summary, settings, links, codecs)
        if not as_json:
            say(f"{out}: written")


def _settings(
    names: Sequence[str] | None, own: Mapping[str, object], seconds: float
) -> list[Setting]:
    """The study's settings, or one of the options' own."""
    from dataclasses import replace

    from slimcontrol.budget import Budget
    from studies.controller.comparison.setting import SETTINGS

    for name in names or ():
        if name not in SETTINGS:
            raise BadUsageError(f"--setting {name}: expected one of {', '.join(SETTINGS)}")
    given = {name: value for name, value in own.items() if value is not None}
    if not given:
        return [replace(SETTINGS[name], seconds=seconds) for name in names or ("a",)]
    if len(names or ()) > 1:
        raise BadUsageError(
            f"--{next(iter(given)).replace('_', '-')} changes one setting; {len(names or ())} were "
            "given"
        )
    base = SETTINGS[names[0] if names else "a"]
    changes: dict[str, object] = {"name": "own", "seconds": seconds}
    if "size" in given:
        changes["image_hw"] = _parse_size(str(given["size"]))
    for option, field in (
        ("fps", "fps"),
        ("deadline", "deadline_seconds"),
        ("round_trip", "round_trip_seconds"),
    ):
        if option in given:
            changes[field] = given[option]
    if budget := given.get("budget"):
        changes["budget"] = Budget(round(60 * float(str(budget))), 60)
    return [replace(base, **changes)]  # type: ignore[arg-type]  # each field by its own option


def _parse_size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise BadUsageError(f"--size {text}: expected width x height in pixels, such as 1280x720")
    return int(height), int(width)


def _links(path: Path | None, half: str, limit: int | None) -> list[Trace]:
    from slimlinks.synthetic import synthetic_traces
    from slimlinks.trace import read_trace
    from studies.controller.comparison.tuning import spread_links
    from studies.controller.simulation.recordings import find_traces, is_for_tuning

    if path is None:
        return list(synthetic_traces().values())
    found = [read_trace(path)] if path.is_file() else list(find_traces(path))
    if half != "all":
        kept = [trace for trace in found if is_for_tuning(trace.name) == (half == "tuning")]
        if not kept:
            raise BadUsageError(f"--half {half}: none of the {len(found)} links in {path} is in it")
        found = kept
    return found if limit is None else spread_links(found, limit)


def _contenders(known: dict[str, Contender], names: Sequence[str] | None) -> list[Contender]:
    from studies.controller.comparison.codec_figures import MODEL

    if not names:
        return [c for c in known.values() if c.codec == MODEL and c.point is None]
    chosen: dict[str, Contender] = {}
    for name in names:
        if name == "all":
            chosen |= known
        elif name == "fixed":
            chosen |= {key: c for key, c in known.items() if c.point is not None}
        elif name in known:
            chosen[name] = known[name]
        else:
            others = ", ".join(key for key, c in known.items() if c.point is None)
            raise BadUsageError(
                f"--policy {name}: expected one of {others}, fixed-LEVEL-QUALITY, fixed, all"
            )
    return list(chosen.values())


def _say(summary: Sequence[Figures]) -> None:
    header = ("accuracy", "of bound", "late", "skipped", "p95 s", "kB/s", "switches/min")
    say(f"{'':42}" + "".join(f"{title:>13}" for title in header))
    for one in summary:
        cells = (
            f"{one.accuracy.value:.4f}",
            "-" if math.isnan(one.share.value) else f"{one.share.value:.3f}",
            f"{one.late_share:.2%}",
            f"{one.skipped_share:.2%}",
            f"{one.latencies[1]:.2f}",
            f"{one.bytes_per_second / 1000:.0f}",
            f"{one.switches_per_minute:.0f}",
        )
        where = f"{one.setting} {one.family}: {one.contender}"
        say(f"{where:<42}" + "".join(f"{cell:>13}" for cell in cells))
