"""Training the paper's codecs, and exporting its switchable ones.

    python -m studies.paper train studies/paper/s-bfm.yaml --images DIR --out runs/s-bfm
    python -m studies.paper export runs/s-bfm/checkpoint.pt --detector NAME --images DIR --to DIR

What is exported is served as any codec is: its containers say that its streams are separate. Codecs
that are not switchable are for `slimwire export`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from torch import Tensor

from slimcodec.entropy.coder import SymbolTables
from slimcodec.entropy.tables import Tables
from slimcodec.model.find import find_model
from slimcodec.model.load import load_detector_artifact
from slimcodec.model.manifest import ModelReference, Task
from slimnets.codec.codec import CodecNet
from slimnets.codec.hyperprior import Hyperprior
from slimnets.export.codec import (
    export_feature_transform,
    export_g_a,
    export_g_s,
    export_h_a,
    export_h_s,
)
from slimnets.export.onnx_file import save_graph, save_weights
from slimnets.export.tabulate import TABLE_STEPS, count_symbols, join_tables
from slimtrain.artifact_folder import LICENCE_UNKNOWN
from slimtrain.codec.artifact import (
    CodecParts,
    training_pictures,
    write_codec_artifact,
)
from slimtrain.loop.checkpoint import load_checkpoint
from slimtrain.recipe.schema import load_recipe, train_codec_of
from studies.paper.recipe import PaperRecipe, build_codec
from studies.paper.switchable import SwitchableCodec, SwitchableConfig

app = typer.Typer(help=__doc__, no_args_is_help=True)

Images = Annotated[list[Path], typer.Option("--images", exists=True)]


@app.command()
def train(
    recipe: str,
    images: Images,
    out: Path,
    detector: str | None = None,
    models: Path | None = None,
    max_edge: int = 640,
) -> None:
    """Train, or go on training, as `slimwire train codec` does."""
    checkpoint = train_codec_of(
        load_recipe(recipe, PaperRecipe),
        images,
        out,
        max_edge,
        detector=detector,
        models=models,
        say=typer.echo,
        build=build_codec,
    )
    typer.echo(checkpoint)


@app.command()
def export(
    checkpoint: Path,
    images: Images,
    detector: str,
    to: Path,
    models: Path | None = None,
    licence: str = LICENCE_UNKNOWN,
) -> None:
    """Make a model of a checkpoint, as `slimwire export` does."""
    manifest = load_detector_artifact(find_model("detector", detector, models)).manifest
    reference = ModelReference(name=manifest.name, version=manifest.version)
    codec, tasks = load_switchable(checkpoint)
    write_switchable_artifact(codec, training_pictures(images), to, reference, licence, tasks)


def load_switchable(checkpoint: Path) -> tuple[SwitchableCodec, list[list[Task]]]:
    """The codec of a training run with its averaged weights, and what each level is for."""
    state = load_checkpoint(checkpoint)
    codec = SwitchableCodec(SwitchableConfig(**state["config"]))
    codec.load_state_dict(state["average"]["state"])
    return codec.float().eval(), state.get("tasks", [])


def write_switchable_artifact(
    codec: SwitchableCodec,
    pictures: Iterable[NDArray[np.uint8]],
    out_dir: Path,
    detector: ModelReference,
    licence: str,
    tasks: list[list[Task]],
) -> None:
    """Write the folder of a codec; arguments as `slimtrain.codec.artifact.write_codec_artifact`."""

    def levels() -> list[CodecNet]:
        return [codec.alone(level) for level in range(codec.config.num_levels)]

    def tabulate(_: CodecNet, pictures: Iterable[Tensor]) -> tuple[Tables, SymbolTables | None]:
        x = list(pictures)
        counted = [count_symbols(alone, x, TABLE_STEPS) for alone in levels()]
        counts = np.concatenate([by_channel for by_channel, _ in counted], axis=1)
        by_scale = [scales for _, scales in counted if scales is not None]
        together = np.sum(by_scale, axis=0) if by_scale else None
        return join_tables(codec, counts, together, TABLE_STEPS)

    def write_graphs(_: CodecNet, folder: Path) -> None:
        weights = save_weights(codec, folder)
        for level, alone in enumerate(levels()):
            save_graph(export_g_a(alone, 0), folder / f"g_a_{level}.onnx")
            if isinstance(alone.prior, Hyperprior):
                save_graph(export_h_a(alone.prior, 0), folder / f"h_a_{level}.onnx")
                save_graph(export_h_s(alone.prior, 0), folder / f"h_s_{level}.onnx")
        save_graph(export_g_s(codec, weights), folder / "g_s.onnx")
        save_graph(export_feature_transform(codec, weights), folder / "feature_transform.onnx")

    parts = CodecParts(tabulate, write_graphs, "separate")
    write_codec_artifact(codec, pictures, out_dir, detector, {}, {}, licence, tasks, parts)


if __name__ == "__main__":
    app()
