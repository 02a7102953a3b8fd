"""Latents of training pictures and of videos, as g_a gives them in float32, before the gain."""

from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from slimcodec.graph.runtime import Graph
from slimcodec.pixels import pad_to_multiple, to_x
from slimnets.codec.config import PAD_MULTIPLE
from slimtrain.data.pictures import PictureEntry, PictureError, decode_pictures

Latent = NDArray[np.float32]  # (M, h, w)


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
    g_a: Graph, name: str, images: Iterable[NDArray[np.uint8]], limit: int
) -> Latent:
    """(T, M, h, w) of the first frames (H, W, 3) of a video, if it has as many.

    Raises:
        PictureError: it has less than two frames.
    """
    first = tqdm(islice(images, limit), name, limit, mininterval=2.0)
    found = [_analyse(g_a, image) for image in first]
    if len(found) < 2:
        raise PictureError(f"{name}: gives {len(found)} frames; two are needed")
    return np.stack(found)


def _analyse(g_a: Graph, image: NDArray[np.uint8]) -> Latent:
    y: Latent = g_a(x=pad_to_multiple(to_x(image), PAD_MULTIPLE))["y"][0]
    return y
