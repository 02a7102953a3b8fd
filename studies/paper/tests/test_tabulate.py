"""Tables of a codec with a hyperprior: real bytes are near the estimate that training saw."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from slimcodec.entropy.symbol_tables import SymbolTables
from slimcodec.entropy.whole import encode_symbols
from studies.paper.artifact import tabulate
from studies.paper.config import PaperConfig
from studies.paper.hyperprior import SCALES
from studies.paper.hyperprior_codec import HyperpriorCodec

ONE = torch.ones(())  # a gain, which changes nothing of these bits
NESTED = PaperConfig(
    channels=((4, 6, 8, 8), (6, 8, 12, 16)),
    qualities=3,
    feature_channels=8,
    feature_width=8,
    synthesis_widths=(8, 8, 8, 8),
    prior="hyperprior",
    hyper_channels=(4, 8),
)


@pytest.fixture(scope="module")
def pictures() -> list[Tensor]:
    """Smooth noise, (1, 3, 128, 192)."""
    coarse = torch.rand(12, 1, 3, 16, 24, generator=torch.Generator().manual_seed(2))
    return [F.interpolate(x, scale_factor=8, mode="bilinear") for x in coarse]


@pytest.fixture(scope="module")
def codec(pictures: list[Tensor]) -> HyperpriorCodec:
    return _started(NESTED, pictures)


def test_real_bytes_are_near_the_estimated_bits(
    codec: HyperpriorCodec, pictures: list[Tensor]
) -> None:
    z_tables, scale_tables = tabulate(codec, pictures, table_steps=1)
    assert scale_tables is not None
    hyperprior = codec.prior
    num_bytes, estimate = 0, 0.0

    for x in pictures:
        with torch.no_grad():
            v = codec.analyse(x, 1) * codec.gains(torch.ones(1), 1)[0][:, :, None, None]
            z_hat = hyperprior.analyse(v, 1).round()
            index = hyperprior.scale_index(z_hat, 1)
            estimate += float(
                torch.stack([hyperprior.bits(v, ONE, (8, 16)) for _ in range(8)]).mean(0).sum()
            )
        z_data = encode_symbols(_symbols(z_hat), z_tables.at(1.0), np.arange(8)[:, None, None])
        y_data = encode_symbols(_symbols(v.round()), scale_tables, _symbols(index))
        num_bytes += len(z_data) + len(y_data)

    assert 0.8 * estimate < 8 * num_bytes < 1.1 * estimate


def test_tables_are_valid_with_a_row_for_each_step_of_quality(
    codec: HyperpriorCodec, pictures: list[Tensor]
) -> None:
    z_tables, scale_tables = tabulate(codec, pictures[:2], table_steps=2)
    assert scale_tables is not None

    z_tables.validate()
    scale_tables.validate("scales")
    assert z_tables.gain.shape == (3, 16)
    assert z_tables.offset.shape == (5, 8)
    assert scale_tables.num_tables == len(SCALES)


def test_scales_that_no_picture_uses_have_gaussian_tables(
    codec: HyperpriorCodec, pictures: list[Tensor]
) -> None:
    _, scale_tables = tabulate(codec, pictures[:1], table_steps=1)
    assert scale_tables is not None

    for index in (45, 55, 63):  # deviations far above this codec's
        assert _cost(scale_tables, index) < 1.001 * _entropy(SCALES[index])


def test_tables_of_no_picture_are_refused(codec: HyperpriorCodec) -> None:
    with pytest.raises(ValueError, match="no pictures"):
        tabulate(codec, [])


def _started(config: PaperConfig, pictures: list[Tensor]) -> HyperpriorCodec:
    torch.manual_seed(6)
    codec = HyperpriorCodec(config).eval()
    codec.start_from(torch.cat(pictures))
    return codec


def _symbols(tensor: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    return tensor[0].numpy().astype(np.int32)


def _bins(scale: float) -> list[tuple[int, float]]:
    """Integers and their probabilities."""
    reach = math.ceil(6 * scale)
    ends = [math.erf((k - 0.5) / scale / math.sqrt(2)) / 2 for k in range(-reach, reach + 2)]
    return [(i - reach, b - a) for i, (a, b) in enumerate(zip(ends, ends[1:], strict=False))]


def _entropy(scale: float) -> float:
    return -sum(p * math.log2(p) for _, p in _bins(scale) if p > 0)


def _cost(tables: SymbolTables, table: int) -> float:
    """Bits per integer of a Gaussian, an escape's value counted as 16 bits."""
    frequencies, first = tables.frequencies(table), int(tables.offset[table])
    last, bits = len(frequencies) - 1, 0.0
    for symbol, p in _bins(SCALES[table]):
        inside = 0 <= symbol - first < last
        frequency = int(frequencies[symbol - first if inside else last])
        bits += p * (16 - math.log2(frequency) + (0 if inside else 16))
    return bits
