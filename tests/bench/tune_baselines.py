"""Choose the baselines' constants on the links for tuning, and keep them in the package.

python tests/bench/tune_baselines.py --traces FOLDER [--per-family 3] [--processes 2]
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

import slimsim
from slimcodec.model.artifact import find_model, load_codec_artifact
from slimsim.links.trace_file import find_traces
from slimsim.study.codec_figures import MODEL, classic_figures, model_figures
from slimsim.study.contender import CONTROLLER, LADDERS, find_contenders
from slimsim.study.setting import SETTINGS
from slimsim.study.tuning import choose_links, tune

OUTPUT = Path(slimsim.__file__).parent / "baselines" / "tuned.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=Path, required=True)
    parser.add_argument("--per-family", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each link")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", nargs="*", help="contenders; not given: all")
    arguments = parser.parse_args()

    artifact = load_codec_artifact(find_model("codec", "slim-n", None))
    manifest = artifact.manifest
    model = model_figures(manifest.levels, manifest.qualities, artifact.profile)
    codecs = {MODEL: model, **{name: classic_figures(name) for name in LADDERS}}
    links = choose_links(find_traces(arguments.traces), arguments.per_family)
    contenders = [
        contender
        for contender in find_contenders(model.points).values()
        if contender.policy != CONTROLLER
        and (not arguments.only or contender.name in arguments.only)
    ]
    table: dict[str, dict[str, Any]] = json.loads(OUTPUT.read_text(encoding="utf-8"))
    best_fixed: dict[str, float] = {}
    with ProcessPoolExecutor(arguments.processes) as pool:
        tasks = {
            pool.submit(
                tune,
                contender,
                replace(SETTINGS[setting], seconds=arguments.seconds),
                links,
                codecs,
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
            print(setting, contender.name, f"{score:.4f}", constants, flush=True)
            OUTPUT.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
