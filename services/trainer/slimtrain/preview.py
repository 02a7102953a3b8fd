"""`slimwire train preview`: the linear map from latents to small pictures, fitted by least squares.

    pictures -Encoder, any level and quality-> y_hat; -mean of 4 x 4 pixels-> what is wanted
    their products, summed over all places -solve-> preview.npz in a new version of the codec

Edge, containers and every other file stay as they are.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slimcodec.decode import Decoder, Latent
from slimcodec.encode import Encoder
from slimcodec.graph.runtime import Runtime
from slimcodec.model.artifact import CodecArtifact
from slimcodec.preview import NEAR_CHANNELS, PREVIEW_FILE, SHRINK, Previewer, near_of
from slimtrain.artifact_folder import Json, new_version

Image = NDArray[np.uint8]

_RIDGE = 1e-5  # of the mean square of the inputs; keeps channels that are never sent at zero


def fit_preview(
    codec: CodecArtifact,
    pictures: Iterable[Image],
    runtime: Runtime,
    draws: int = 2,
    seed: int = 1,
    on_picture: Callable[[], object] = lambda: None,
) -> Previewer:
    """Fit the map of a codec.

    Args:
        pictures: uint8 (H, W, 3) RGB.
        draws: How often each picture is encoded, at a level and quality of its own.
        on_picture: Is told of each picture.
    """
    encoder, decoder = Encoder(codec, runtime), Decoder(codec, runtime)
    M, stride = codec.levels[-1].latent_channels, codec.manifest.latent_stride
    near, size = min(NEAR_CHANNELS, codec.levels[0].latent_channels), stride // SHRINK
    count, values = M + 9 * near + 1, 3 * size * size
    square, product = np.zeros((count, count)), np.zeros((count, values))
    random = np.random.default_rng(seed)
    for picture in pictures:
        for _ in range(draws):
            level = int(random.integers(len(codec.levels)))
            quality = float(random.uniform(0, codec.manifest.qualities - 1))
            latent = decoder.decode_latent(encoder.encode(picture, level, quality).bitstream)
            inputs, wanted = _rows(latent, picture, M, near, stride)
            square += inputs.T @ inputs
            product += inputs.T @ wanted
        on_picture()
    ridge = _RIDGE * np.trace(square) / count * np.eye(count)
    weights = np.linalg.solve(square + ridge, product).astype(np.float32)
    return Previewer(weights[:M], weights[M:-1], weights[-1])


def _rows(
    latent: Latent, picture: Image, num_channels: int, near: int, stride: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Inputs and wanted values (rows, ...) of the places that lie in the picture as a whole."""
    h, w = picture.shape[0] // stride, picture.shape[1] // stride
    sent = latent.y_hat[0]
    y = np.zeros((num_channels, *sent.shape[1:]), np.float32)
    y[: len(sent)] = sent
    inside = np.zeros(y.shape[1:], np.bool_)
    inside[:h, :w] = True
    ones = np.ones((h * w, 1), np.float32)
    at = inside.ravel()
    rows = np.concatenate([y.reshape(num_channels, -1), near_of(y, near)])[:, at]
    inputs = np.concatenate([rows.T, ones], axis=1)
    whole = picture[: h * stride, : w * stride].astype(np.float32) / 255
    size = stride // SHRINK
    blocks = whole.reshape(h, size, SHRINK, w, size, SHRINK, 3).mean((2, 5))
    return inputs, blocks.transpose(0, 2, 4, 1, 3).reshape(h * w, -1)


def write_preview(
    codec: CodecArtifact, fitted: Previewer, to: Path, training: Mapping[str, Json]
) -> None:
    """Write a version of a codec that has previews.

    Raises:
        ArtifactFolderError: `to` exists or is not `.../<name>/<version>`.
        ModelError: a file of the codec is missing.
    """
    with new_version(codec, to, {}, {"preview": training}, keeps_profile=True) as folder:
        fitted.save(folder / PREVIEW_FILE)
