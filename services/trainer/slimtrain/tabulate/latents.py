"""Latents of training pictures and of videos, as g_a gives them in float32, before the gain."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from slimcodec.graph.runtime import Graph
from slimcodec.pixels import pad_to_multiple, to_x
from slimnets.codec.config import PAD_MULTIPLE
from slimtrain.data.pictures import PictureEntry, PictureError, decode_pictures

Latent = NDArray[np.float32]  # (M, h, w)
TimedPicture = tuple[float, NDArray[np.uint8]]  # seconds; (H, W, 3) RGB


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


def latents_of_video(
    g_a: Graph, name: str, frames: Iterable[TimedPicture], fps: float, limit: int
) -> Latent:
    """(T, M, h, w) of the first frames at a rate, if the video has as many.

    Args:
        frames: of the video, with their seconds after the first one.

    Raises:
        PictureError: it has less than two frames.
    """
    thinned = islice(_thinned(frames, fps), limit)
    found = [_analyse(g_a, image) for image in tqdm(thinned, name, limit, mininterval=2.0)]
    if len(found) < 2:
        raise PictureError(f"{name}: has {len(found)} frames at {fps:g} frames/s; two are needed")
    return np.stack(found)


def _thinned(frames: Iterable[TimedPicture], fps: float) -> Iterator[NDArray[np.uint8]]:
    due_seconds = 0.0
    for seconds, image in frames:
        if seconds > due_seconds - 1e-3:  # less than any frame lasts
            due_seconds = max(due_seconds + 1 / fps, seconds)  # a gap is not made up for
            yield image


def _analyse(g_a: Graph, image: NDArray[np.uint8]) -> Latent:
    y: Latent = g_a(x=pad_to_multiple(to_x(image), PAD_MULTIPLE))["y"][0]
    return y
