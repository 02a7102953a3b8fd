from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimcodec.container import parse_container, round_quality, to_fixed
from slimcodec.decode import Decoder
from slimcodec.encode import Encoder
from slimcodec.entropy.gain import gain_at
from slimcodec.entropy.tables import table_position
from slimcodec.model.artifact import CodecArtifact
from support.models.toy_artifact import make_image

GAINS = np.array([[0.5, 1.0], [2.0, 3.0], [4.0, 27.0]], np.float32)


@given(st.floats(0, 255))
def test_rounding_moves_a_quality_by_half_a_step_at_most_and_once(quality: float) -> None:
    rounded = round_quality(quality)

    assert abs(rounded - quality) <= 1 / 512
    assert round_quality(rounded) == rounded
    assert to_fixed(rounded) / 256 == rounded


def test_quality_that_was_not_rounded_chooses_nothing() -> None:
    with pytest.raises(ValueError, match=r"1\.3 is no multiple"):
        table_position(1.3, 4)


def test_trained_quality_has_the_stored_gains() -> None:
    for row in range(3):
        assert np.array_equal(gain_at(GAINS, float(row)), GAINS[row])


def test_gains_between_are_geometric_means() -> None:
    half, quarter = gain_at(GAINS, 0.5), gain_at(GAINS, 1.25)

    assert half.dtype == np.float32
    assert half == pytest.approx([1.0, 3**0.5])
    assert quarter == pytest.approx([2 * 2**0.25, 3 * 9**0.25])


def test_gains_between_are_the_exact_means_rounded_once() -> None:
    gains = np.random.default_rng(0).lognormal(0, 2, (2, 50)).astype(np.float32)
    low, high = (np.array([Decimal(float(gain)) for gain in row]) for row in gains)

    for part in range(1, 256):
        exact = low * (high / low) ** (Decimal(part) / 256)
        np.testing.assert_array_equal(gain_at(gains, part / 256), exact.astype(np.float32))


@pytest.mark.parametrize("steps", [1, 3, 4, 64])
def test_position_among_the_rows_is_the_quality(steps: int) -> None:
    for fixed in range(5 * 256 + 1):
        row, part = table_position(fixed / 256, steps)

        assert 0 <= part < 256
        assert (row + part / 256) / steps == pytest.approx(fixed / 256)


def test_any_quality_is_on_the_wire_as_the_nearest_256th(
    encoder: Encoder, decoder: Decoder, codec: CodecArtifact
) -> None:
    image = make_image(40, 40)

    encoded = encoder.encode(image, 1, 2.6)
    latent = decoder.decode_latent(encoded.bitstream)

    expected = round(2.6 * 256) / 256
    assert parse_container(encoded.bitstream).quality == expected
    assert encoded.quality == latent.quality == expected
    symbols = latent.y_hat[0, :, 0, 0] / codec.tables.inverse_gain_at(expected)[:16]
    assert symbols == pytest.approx(np.rint(symbols), abs=1e-4)


def test_enhancement_has_its_bases_fraction(encoder: Encoder, decoder: Decoder) -> None:
    image = make_image(40, 40)
    base = encoder.encode(image, 0, 1.5).bitstream

    joined = decoder.decode_latent(base, encoder.enhance(image, base).bitstream)

    whole = decoder.decode_latent(encoder.encode(image, 3, 1.5).bitstream)
    assert np.array_equal(joined.y_hat, whole.y_hat)
    assert joined.quality == 1.5
