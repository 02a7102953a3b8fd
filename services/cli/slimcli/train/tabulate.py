"""`slimwire tabulate`: a context prior for a codec that is trained. Needs the extra `train`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slimcli import options as common
from slimcli.command_line import command_line
from slimcli.exits import needs_extra
from slimcli.frames import read_frames
from slimcli.models import open_codec
from slimcli.streams import say
from slimcli.train import options
from slimcodec.model.find import DEFAULT_MODEL

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def tabulate(
    images: options.Images,
    to: options.To,
    video: Annotated[
        list[Path] | None,
        typer.Option(
            "--video",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Of a fixed camera; may be repeated. Not given: every frame is coded alone.",
        ),
    ] = None,
    model: common.Model = DEFAULT_MODEL,
    models: common.Models = None,
    run: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Of the fits; not given: runs/<name>-<version>."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Pictures, spread over all of them.")] = 480,
    frames: Annotated[int, typer.Option(min=2, help="Of each video, five a second.")] = 60,
    max_edge: options.MaxEdge = options.TRAINING_MAX_EDGE,
    steps: Annotated[int, typer.Option(min=1, help="Of the fit on pictures.")] = 1500,
    inter_steps: Annotated[int, typer.Option(min=1, help="Of the fit on videos.")] = 1000,
    threads: options.TorchThreads = None,
    seed: options.Seed = None,
) -> None:
    """Give a trained codec a context prior. Fitted and counted on pictures and videos, in minutes.

    The transforms stay as they are. Started again with the same run it goes on where it stopped.
    One picture in ten, chosen by its name, is left out: it is for validation.
    """
    with needs_extra("train", "tabulate"):
        from slimtrain.tabulate.tabulate import TabulateSettings
        from slimtrain.tabulate.tabulate import tabulate as run_tabulation

    codec = open_codec(model, models)
    settings = TabulateSettings(
        images=images,
        videos=video or (),
        to=to,
        run=run,
        pictures=limit,
        frames=frames,
        max_edge=max_edge,
        steps=steps,
        inter_steps=inter_steps,
        threads=threads,
        seed=1 if seed is None else seed,
        command=command_line(),
    )
    run_tabulation(codec, settings, _read)
    say(f"{to}: {codec.label} with a context prior; `slimwire calibrate` measures what it costs")


def _read(video: Path, fps: float) -> Iterator[NDArray[np.uint8]]:
    """The frames of a video at a rate; those that are damaged are passed over."""
    return (frame.image for frame in read_frames(video, fps, lambda _: None))
