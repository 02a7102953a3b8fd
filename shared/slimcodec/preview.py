"""y_hat -> a small picture, a quarter of the size on each side, without a graph.

    y_hat (M, h, w) -own (M, 48)-----------------------+
          its first channels, 3x3 places -near (9C, 48)+-> 4 x 4 pixels of each place

One matrix product of numpy. What a picture shows at a quarter of its size is nearly linear in the
latent, and `slimwire train preview` fits the product by least squares
(`docs/decisions/0050-previews.md`).
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from slimcodec.decode import Latent
from slimcodec.errors import ModelError
from slimcodec.model.artifact import CodecArtifact

PREVIEW_FILE = "preview.npz"
SHRINK = 4  # pixels of the picture to one of the preview
NEAR_CHANNELS = 24  # of the latent, whose neighbours are looked at
_NEIGHBOURS = [(y, x) for y in range(3) for x in range(3)]


@dataclass(frozen=True, eq=False)
class Previewer:
    """The matrices of one codec; B = 3 * 4 * 4 values of a place: colour, row, column."""

    own: NDArray[np.float32]  # (M, B)
    near: NDArray[np.float32]  # (9 * C, B), neighbours row by row, then channels
    bias: NDArray[np.float32]  # (B,)

    @classmethod
    def of(cls, artifact: CodecArtifact) -> Self | None:
        """That of a codec, or None where it has none.

        Raises:
            ModelError: it does not fit the codec.
        """
        if PREVIEW_FILE not in artifact.manifest.files:
            return None
        path = artifact.file(PREVIEW_FILE)
        try:
            with np.load(io.BytesIO(path.read_bytes())) as file:
                found = cls(*(file[name].astype(np.float32) for name in ("own", "near", "bias")))
        except (OSError, ValueError, KeyError, BadZipFile) as exc:
            raise ModelError(f"{path}: cannot be read: {exc}; fetch the model again") from exc
        M, size = artifact.levels[-1].latent_channels, artifact.manifest.latent_stride // SHRINK
        values = 3 * size * size
        expected = ((M, values), (len(found.near), values), (values,))
        shapes = (found.own.shape, found.near.shape, found.bias.shape)
        if shapes != expected or len(found.near) % len(_NEIGHBOURS):
            raise ModelError(f"{path}: arrays of {shapes}; {artifact.label} needs {expected}")
        return found

    def save(self, path: Path) -> None:
        """Write it in half precision."""
        halves = {name: getattr(self, name).astype(np.float16) for name in ("own", "near")}
        np.savez(path, bias=self.bias, **halves)

    def preview(self, latent: Latent) -> NDArray[np.uint8]:
        """Return the small picture, uint8 (ceil(H / 4), ceil(W / 4), 3) RGB."""
        y = latent.y_hat[0]  # (M_l, h, w)
        M, h, w = y.shape
        near = min(M, len(self.near) // len(_NEIGHBOURS))
        rows = self.near.reshape(len(_NEIGHBOURS), -1, len(self.bias))[:, :near]
        values = self.own[:M].T @ y.reshape(M, -1)  # (B, h * w)
        values += rows.reshape(-1, len(self.bias)).T @ near_of(y, near)
        values += self.bias[:, np.newaxis]
        pixels = np.clip(255 * values + 0.5, 0, 255).astype(np.uint8)
        size = round((len(self.bias) // 3) ** 0.5)
        picture = pixels.reshape(3, size, size, h, w).transpose(3, 1, 4, 2, 0)
        height, width = (-(-side // SHRINK) for side in latent.image_hw)
        return np.ascontiguousarray(picture.reshape(h * size, w * size, 3)[:height, :width])


def near_of(y: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """(M, h, w) -> (9 * channels, h * w): the first channels of a place and its eight neighbours,
    the border's repeated.
    """
    _, h, w = y.shape
    padded = np.pad(y[:channels], ((0, 0), (1, 1), (1, 1)), mode="edge")
    windows = [padded[:, top : top + h, left : left + w] for top, left in _NEIGHBOURS]
    rows: NDArray[np.float32] = np.stack(windows).reshape(-1, h * w)
    return rows
