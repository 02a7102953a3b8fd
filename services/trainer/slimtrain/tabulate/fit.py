"""The two fits: symbols that are coded alone on pictures, then differences on frames of cameras."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slimcodec.container import QUALITY_STEPS
from slimcodec.entropy.gain import gain_at
from slimtrain.data.crops import draw_seed
from slimtrain.loop.loop import Task
from slimtrain.tabulate.frames import InterFrame, crop
from slimtrain.tabulate.predictor import Piece, Predictor, Reference, laplace_bits

SIDE = 16  # of a crop, places: its border, where less is known, must not weigh too much
_LEARNING_RATE = 6e-3
_PENALTY = 1e-4  # bits of a place for each sum of weights of one
_ZERO_SHARE = 0.02  # added to a mean magnitude before its logarithm
_FIRST_MEAN = 0.2  # weight of each of the four nearest places in the first chunk, to begin with


def chunk_ends(widths: Sequence[int]) -> list[int]:
    """Where the chunks of a codec end: small ones first, and each level's width is an end."""
    ends = [0]
    for width in widths:
        while ends[-1] < width:
            last = ends[-1]
            size = 4 if last < 8 else 8 if last < 32 else 16 if last < 64 else 32
            ends.append(min(last + size, width))
    return ends[1:]


def draw_quality(share: float, qualities: int) -> float:
    """The quality, as containers have it, that lies at a share of the way to the finest."""
    return round(share * (qualities - 1) * QUALITY_STEPS) / QUALITY_STEPS


class _Fit(Task):
    """Fits a predictor by the bits of a place, with a penalty on the sum of its weights."""

    name = "predictor"
    trained: Predictor

    def __init__(self, predictor: Predictor, identity: Mapping[str, str], seed: int, batch: int):
        self.trained, self.identity, self.seed, self.batch = predictor, identity, seed, batch
        self.optimizer = torch.optim.Adam(
            [{"params": list(predictor.parameters()), "peak": _LEARNING_RATE}], lr=_LEARNING_RATE
        )

    def losses(self, step: int, done: float) -> dict[str, Tensor]:
        bits = self.bits(np.random.default_rng(draw_seed(self.seed, step)))
        weights = (p.abs().sum() for n, p in self.trained.named_parameters() if n != "bias")
        return {"loss": bits + _PENALTY * sum(weights), "bits": bits}

    def bits(self, draw: np.random.Generator) -> Tensor:
        """Of a place, mean of the batch that is drawn."""
        raise NotImplementedError


class AloneFit(_Fit):
    """Fits what codes symbols alone.

    Args:
        latents: (M, h, w) of pictures, before the gain.
        gain: (Q, M), the codec's.
    """

    def __init__(
        self,
        predictor: Predictor,
        latents: Sequence[NDArray[np.float32]],
        gain: NDArray[np.float32],
        identity: Mapping[str, str],
        seed: int,
        batch: int,
    ) -> None:
        super().__init__(predictor, identity, seed, batch)
        self.latents, self.gain = latents, gain

    @torch.no_grad()
    def begin(self) -> None:
        """Biases by the mean magnitudes, first means by the nearest places."""
        for quality, gain in enumerate(self.gain):
            mean = np.mean(
                [np.abs(np.rint(y * gain[:, None, None])).mean((1, 2)) for y in self.latents[::4]],
                axis=0,
            )
            self.trained.bias[quality] = torch.from_numpy(np.log(mean + _ZERO_SHARE))
        diagonal = torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 0, 1]]) * _FIRST_MEAN
        beside = torch.tensor([[0, 1.0, 0], [1, 0, 1], [0, 1, 0]]) * _FIRST_MEAN
        for name, nearest in (("0_1", diagonal), ("0_2", beside)):
            for channel, kernel in enumerate(self.trained.mean[name]):
                kernel[channel] = nearest

    def bits(self, draw: np.random.Generator) -> Tensor:
        crops, qualities = [], []
        for number in range(self.batch):
            y = self.latents[draw.integers(len(self.latents))]
            row, column = (int(draw.integers(max(1, side - SIDE + 1))) for side in y.shape[1:])
            piece = y[:, row : row + SIDE, column : column + SIDE]
            pad = [(0, 0), *((0, SIDE - side) for side in piece.shape[1:])]
            # every batch holds the whole range of qualities
            quality = draw_quality((number + draw.random()) / self.batch, len(self.gain))
            gain = gain_at(self.gain, quality)[:, None, None]
            crops.append(np.rint(np.pad(piece, pad, mode="edge") * gain))
            qualities.append(quality)
        symbols = torch.from_numpy(np.stack(crops))
        pieces = self.trained(symbols, torch.tensor(qualities))
        return bits_of_places(pieces, symbols).mean()


class DifferenceFit(_Fit):
    """Fits what codes differences to a reference, of the places for which these take fewer bits
    than symbols alone.

    Args:
        alone: the fitted predictor of symbols.
        frames: of simulated cameras; some places of each changed.
    """

    def __init__(
        self,
        predictor: Predictor,
        alone: Predictor,
        frames: Sequence[InterFrame],
        identity: Mapping[str, str],
        seed: int,
        batch: int,
    ) -> None:
        super().__init__(predictor, identity, seed, batch)
        self.alone = alone
        # a batch is of one width
        self.by_width: dict[int, list[InterFrame]] = {}
        for frame in frames:
            self.by_width.setdefault(len(frame.symbols), []).append(frame)

    @torch.no_grad()
    def begin(self) -> None:
        """Biases as of symbols alone, a little lower."""
        self.trained.bias.copy_(self.alone.bias - 1)

    def bits(self, draw: np.random.Generator) -> Tensor:
        widths = sorted(self.by_width)
        frames = self.by_width[widths[draw.integers(len(widths))]]
        crops = [
            crop(frames[index], SIDE, draw) for index in draw.integers(len(frames), size=self.batch)
        ]
        symbols, of_reference, there, fineness, changed = (
            torch.from_numpy(np.stack([getattr(c, name) for c in crops])).float()
            for name in ("symbols", "reference", "there", "fineness", "changed")
        )
        reference = Reference(
            of_reference, *(t[:, None] for t in (there, changed, fineness.clamp(0, 7.9)))
        )
        quality = torch.tensor([c.quality for c in crops])
        coded = symbols - of_reference
        with torch.no_grad():
            alone = bits_of_places(self.alone(symbols, quality, reference), symbols, there)
        difference = bits_of_places(self.trained(symbols, quality, reference), coded, there)
        return (torch.minimum(difference, alone) * changed).sum() / changed.sum()


def bits_of_places(pieces: Iterable[Piece], coded: Tensor, there: Tensor | None = None) -> Tensor:
    """(B, h, w) bits of what is coded (B, M, h, w), only of channels that are there (B, h, w)."""
    bits = coded.new_zeros(len(coded), *coded.shape[2:])
    for piece in pieces:
        of_piece = laplace_bits(
            coded[:, piece.channels, piece.rows, piece.columns], piece.u, piece.mean
        ).sum(1)
        if there is not None:
            of_piece = of_piece * (there[:, piece.rows, piece.columns] >= piece.channels.stop)
        bits[:, piece.rows, piece.columns] += of_piece
    return bits
