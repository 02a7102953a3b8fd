"""Latents of training pictures and of videos, as g_a gives them in float32, before the gain."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from slimcodec.graph.runtime import Graph
from slimcodec.pixels import pad_to_multiple, to_x
from slimnets.codec.config import PAD_MULTIPLE
from slimtrain.data.pictures import PictureEntry, PictureError, decode_pictures

Latent = NDArray[np.float32]  # (M, h, w)

_DEFAULT_FPS = 25.0  # of a video without a rate


def latents_of_pictures(g_a: Graph, entries: Sequence[PictureEntry], max_edge: int) -> list[Latent]:
    """Those of the pictures that can be read, their longest side shrunk to `max_edge` pixels.

    Raises:
        PictureError: there are none.
    """
    shown = tqdm(entries, "pictures", mininterval=2.0)
    found = [_analyse(g_a, image) for _, image in decode_pictures(shown, max_edge)]
    if not found:
        raise PictureError(f"none of {len(entries)} training pictures can be read")
    return found


def latents_of_video(g_a: Graph, path: Path, fps: float, limit: int) -> Latent:
    """(T, M, h, w) of the first frames at a rate.

    Raises:
        PictureError: it cannot be played, or has less than two frames.
    """
    try:
        with av.open(str(path)) as container:
            frames = islice(_thinned(container, fps), limit)
            shown = tqdm(frames, path.name, limit, mininterval=2.0)
            found = [_analyse(g_a, frame) for frame in shown]
    except (av.error.FFmpegError, IndexError) as exc:
        raise PictureError(f"{path}: cannot be played: {exc}") from exc
    if len(found) < 2:
        raise PictureError(f"{path}: has {len(found)} frames at {fps:g} frames/s; two are needed")
    return np.stack(found)


def _thinned(container: av.container.InputContainer, fps: float) -> Iterator[NDArray[np.uint8]]:
    stream = container.streams.video[0]
    every = max(1, round(float(stream.average_rate or _DEFAULT_FPS) / fps))
    for frame in islice(container.decode(stream), 0, None, every):
        yield frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)


def _analyse(g_a: Graph, image: NDArray[np.uint8]) -> Latent:
    y: Latent = g_a(x=pad_to_multiple(to_x(image), PAD_MULTIPLE))["y"][0]
    return y
