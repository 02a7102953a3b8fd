"""`python -m studies.controller tune`: the baselines' constants, kept in `baselines/tuned.json`."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from slimcli.models import open_codec
from slimcli.streams import say
from slimcodec.model.find import DEFAULT_MODEL

OUTPUT = Path(__file__).parents[1] / "baselines" / "tuned.json"


def register(app: typer.Typer) -> None:
    app.command()(tune)


def tune(
    traces: Annotated[
        Path, typer.Option("--traces", metavar="DIR", exists=True, help="Recorded links.")
    ],
    per_family: Annotated[int, typer.Option(min=1, help="Links of each family.")] = 3,
    seconds: Annotated[float, typer.Option(min=1.0, help="Of each link.")] = 60.0,
    processes: Annotated[int, typer.Option(min=1)] = 2,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="NAME", help="A contender; may be repeated. Default: all."),
    ] = None,
) -> None:
    """Choose the baselines' constants on the links for tuning, and keep them in the package."""
    from studies.controller.comparison import tuning
    from studies.controller.comparison.codec_figures import MODEL, classic_figures, model_figures
    from studies.controller.comparison.contender import CONTROLLER, LADDERS, find_contenders
    from studies.controller.comparison.setting import SETTINGS
    from studies.controller.simulation.content import load_street
    from studies.controller.simulation.recordings import find_traces

    artifact = open_codec(DEFAULT_MODEL, None)
    manifest = artifact.manifest
    model = model_figures(manifest.levels, manifest.qualities, artifact.profile, load_street())
    codecs = {MODEL: model, **{name: classic_figures(name) for name in LADDERS}}
    links = tuning.choose_links(find_traces(traces), per_family)
    contenders = [
        contender
        for contender in find_contenders(model.points).values()
        if contender.policy != CONTROLLER and (not only or contender.name in only)
    ]
    table: dict[str, dict[str, Any]] = json.loads(OUTPUT.read_text(encoding="utf-8"))
    best_fixed: dict[str, float] = {}
    with ProcessPoolExecutor(processes) as pool:
        tasks = {
            pool.submit(
                tuning.tune, contender, replace(SETTINGS[setting], seconds=seconds), links, codecs
            ): (setting, contender)
            for setting in SETTINGS
            for contender in contenders
        }
        for task in as_completed(tasks):
            setting, contender = tasks[task]
            constants, score = task.result()
            own = table.setdefault(setting, {})
            own[contender.name] = constants
            if contender.point is not None and score > best_fixed.get(setting, 0.0):
                best_fixed[setting] = score
                own["best-fixed"] = {"name": contender.name}
            say(f"{setting} {contender.name} {score:.4f} {constants}")
            OUTPUT.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", encoding="utf-8")
