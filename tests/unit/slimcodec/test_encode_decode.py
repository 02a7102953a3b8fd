from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from slimcodec.container import HEADER_BYTES, pack_container, parse_container
from slimcodec.decode import Decoder, Latent, one_hot_levels, widen_latents
from slimcodec.encode import Encoder
from slimcodec.errors import (
    CodecError,
    ContainerLimitError,
    DamagedContainerError,
    FingerprintMismatchError,
    ImageError,
    UnsupportedVersionError,
)
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.graph.runtime import Graph
from slimcodec.image import image_bytes, load_image
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.load import load_codec_artifact
from support.models.toy_artifact import make_image, make_toy_codec

LEVELS = range(4)
QUALITIES = range(6)


def squared_error(image: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(((image.astype(np.float64) - other) ** 2).mean())


@pytest.mark.parametrize("hw", [(1, 1), (17, 33), (32, 32), (65, 40)])
@pytest.mark.parametrize("level", LEVELS)
def test_picture_comes_back_in_its_own_size(
    encoder: Encoder, decoder: Decoder, hw: tuple[int, int], level: int
) -> None:
    image = make_image(*hw)

    encoded = encoder.encode(image, level, quality=3)
    latent = decoder.decode_latent(encoded.bitstream)
    decoded = decoder.decode_image(latent)

    assert (latent.level, latent.quality, latent.image_hw) == (level, 3, hw)
    assert latent.y_hat.shape[1] == 8 * (level + 1)
    assert decoded.shape == image.shape
    assert decoded.dtype == np.uint8
    assert encoded.bpp == 8 * len(encoded.bitstream) / (hw[0] * hw[1])
    assert encoded.encode_seconds > 0


def test_finer_quality_costs_more_and_is_nearer(encoder: Encoder, decoder: Decoder) -> None:
    image = make_image(96, 128)

    encoded = [encoder.encode(image, 3, quality) for quality in QUALITIES]
    errors = [
        squared_error(image, decoder.decode_image(decoder.decode_latent(e.bitstream)))
        for e in encoded
    ]

    sizes = [len(e.bitstream) for e in encoded]
    assert sizes == sorted(set(sizes))
    assert errors == sorted(set(errors), reverse=True)


def test_wider_level_costs_more_and_is_nearer(encoder: Encoder, decoder: Decoder) -> None:
    image = make_image(96, 128)

    encoded = [encoder.encode(image, level, 4) for level in LEVELS]
    errors = [
        squared_error(image, decoder.decode_image(decoder.decode_latent(e.bitstream)))
        for e in encoded
    ]

    sizes = [len(e.bitstream) for e in encoded]
    assert sizes == sorted(set(sizes))
    assert errors == sorted(set(errors), reverse=True)


@pytest.mark.parametrize("quality", QUALITIES)
def test_each_levels_sections_are_the_first_of_the_wider_level(
    encoder: Encoder, quality: int
) -> None:
    image = make_image(70, 90)
    widest = parse_container(encoder.encode(image, 3, quality).bitstream).sections

    for level in LEVELS:
        sections = parse_container(encoder.encode(image, level, quality).bitstream).sections
        assert sections == widest[: level + 1]


@pytest.mark.parametrize("base_level", [0, 1, 2])
def test_base_and_enhancement_are_the_full_stream_and_one_header(
    encoder: Encoder, decoder: Decoder, base_level: int
) -> None:
    image = make_image(70, 90)

    base = encoder.encode(image, base_level, 2)
    enhancement = encoder.enhance(image, base.bitstream)
    full = encoder.encode(image, 3, 2)

    assert parse_container(enhancement.bitstream).is_enhancement
    assert len(base.bitstream) + len(enhancement.bitstream) == len(full.bitstream) + HEADER_BYTES
    joined = decoder.decode_latent(base.bitstream, enhancement.bitstream)
    whole = decoder.decode_latent(full.bitstream)
    assert np.array_equal(joined.y_hat, whole.y_hat)
    assert (joined.level, joined.quality, joined.image_hw) == (3, 2, (70, 90))


def test_enhancement_may_stop_before_the_widest_level(encoder: Encoder, decoder: Decoder) -> None:
    image = make_image(40, 40)
    base = encoder.encode(image, 0, 2).bitstream

    enhancement = encoder.enhance(image, base, level=2)

    assert enhancement.level == 2
    assert decoder.decode_latent(base, enhancement.bitstream).y_hat.shape[1] == 24


def test_base_keeps_its_own_symbols_when_the_enhancement_is_of_another_run(
    encoder: Encoder, decoder: Decoder
) -> None:
    image = make_image(40, 40, seed=1)
    base = encoder.encode(image, 1, 2).bitstream
    touched = image.copy()
    touched[:2, :2] ^= 0x40  # as much as another machine's arithmetic makes of it
    enhancement = encoder.enhance(touched, base).bitstream

    joined = decoder.decode_latent(base, enhancement).y_hat

    assert np.array_equal(joined[:, :16], decoder.decode_latent(base).y_hat)
    of_other_run = decoder.decode_latent(encoder.encode(touched, 1, 2).bitstream).y_hat
    assert not np.array_equal(joined[:, :16], of_other_run)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_random_pictures_decode_to_the_symbols_that_were_encoded(
    encoder: Encoder, decoder: Decoder, data: st.DataObject
) -> None:
    hw = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    noise = data.draw(st.binary(min_size=3, max_size=3 * hw[0] * hw[1]))
    image = np.resize(np.frombuffer(noise, np.uint8), (*hw, 3))
    level, quality = data.draw(st.sampled_from(LEVELS)), data.draw(st.sampled_from(QUALITIES))

    encoded = encoder.encode(image, level, quality)
    again = encoder.encode(image, level, quality)
    latent = decoder.decode_latent(encoded.bitstream)

    assert encoded.bitstream == again.bitstream
    assert decoder.decode_image(latent).shape == image.shape


def test_latent_beyond_every_table_comes_back(
    codec: CodecArtifact, runtime: OpenVinoRuntime
) -> None:
    wild = np.array([1e9, -1e9, np.nan, np.inf, -np.inf, 0.5, -20.0, 3.0], np.float32)

    class WildRuntime:
        def load(self, path: Path, exact: bool = False) -> Graph:
            def run(**inputs: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
                return {"y": np.broadcast_to(wild.reshape(1, 8, 1, 1), (1, 8, 2, 2))}

            return run

    encoded = Encoder(codec, WildRuntime()).encode(make_image(32, 32), 0, 0)
    y_hat = Decoder(codec, runtime).decode_latent(encoded.bitstream).y_hat

    assert y_hat[0, :, 0, 0].tolist() == [32767, -32767, 0, 32767, -32767, 0, -20, 3]


def test_every_kind_of_picture_file_goes_through(
    encoder: Encoder, decoder: Decoder, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(image_bytes(make_image(17, 33), ".png"))
    image = load_image(tmp_path / "a.png")

    bitstream = encoder.encode(image, 3, 5).bitstream
    shown = decoder.decode_image(decoder.decode_latent(bitstream))
    (tmp_path / "b.png").write_bytes(image_bytes(shown, ".png"))

    assert load_image(tmp_path / "b.png").shape == (17, 33, 3)


def test_many_threads_agree(codec: CodecArtifact, runtime: OpenVinoRuntime) -> None:
    encoder, decoder = Encoder(codec, runtime), Decoder(codec, runtime)
    tasks = [(make_image(33, 47, seed), seed % 4, seed % 6) for seed in range(24)]

    def roundtrip(task: tuple[NDArray[np.uint8], int, int]) -> tuple[bytes, bytes]:
        bitstream = encoder.encode(*task).bitstream
        return bitstream, decoder.decode_image(decoder.decode_latent(bitstream)).tobytes()

    alone = [roundtrip(task) for task in tasks]
    fresh = Encoder(codec, runtime)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(roundtrip, tasks))
        from_fresh = list(pool.map(lambda task: fresh.encode(*task).bitstream, tasks))

    assert together == alone
    assert from_fresh == [bitstream for bitstream, _ in alone]


def test_other_models_container_is_refused_with_both_fingerprints(
    encoder: Encoder, codec: CodecArtifact, runtime: OpenVinoRuntime, tmp_path: Path
) -> None:
    other = load_codec_artifact(make_toy_codec(tmp_path, seed=2))
    image = make_image(16, 16)
    bitstream = encoder.encode(image, 0, 0).bitstream

    with pytest.raises(FingerprintMismatchError) as caught:
        Decoder(other, runtime).decode_latent(bitstream)

    assert codec.fingerprint.hex() in str(caught.value)
    assert other.fingerprint.hex() in str(caught.value)
    with pytest.raises(FingerprintMismatchError):
        Encoder(other, runtime).enhance(image, bitstream)


def test_container_of_the_future_is_refused(encoder: Encoder, decoder: Decoder) -> None:
    bitstream = bytearray(encoder.encode(make_image(8, 8), 0, 0).bitstream)
    bitstream[4] = 7

    with pytest.raises(UnsupportedVersionError, match="version 7"):
        decoder.decode_latent(bytes(bitstream))


def test_picture_above_max_pixels_is_refused_on_both_sides(
    codec: CodecArtifact, runtime: OpenVinoRuntime, encoder: Encoder
) -> None:
    image = make_image(60, 80)

    with pytest.raises(ImageError, match=r"80x60 = 4800.*at most 4799.*shrink.*max_pixels"):
        Encoder(codec, runtime, max_pixels=4799).encode(image, 0, 0)
    with pytest.raises(ContainerLimitError, match=r"80x60 = 4800.*at most 4799.*max_pixels"):
        Decoder(codec, runtime, max_pixels=4799).decode_latent(
            encoder.encode(image, 0, 0).bitstream
        )


def test_picture_above_the_formats_limit_is_refused(encoder: Encoder) -> None:
    row = np.zeros((1, 8192, 3), np.uint8)

    with pytest.raises(ImageError, match=r"8192x8193.*67108864"):
        encoder.encode(np.broadcast_to(row, (8193, 8192, 3)), 0, 0)


@pytest.mark.parametrize(("level", "quality"), [(4, 0), (-1, 0), (0, 6), (0, -1)])
def test_operating_point_that_is_not_there_is_refused(
    encoder: Encoder, level: int, quality: int
) -> None:
    with pytest.raises(CodecError, match=r"levels 0\.\.3 and qualities 0\.\.5"):
        encoder.encode(make_image(8, 8), level, quality)


def test_wrong_base_for_an_enhancement_is_refused(encoder: Encoder) -> None:
    image = make_image(40, 40)
    base = encoder.encode(image, 1, 2).bitstream
    enhancement = encoder.enhance(image, base).bitstream

    with pytest.raises(CodecError, match="was given as base"):
        encoder.enhance(image, enhancement)
    with pytest.raises(CodecError, match="level 1 already"):
        encoder.enhance(image, base, level=1)
    with pytest.raises(ImageError, match=r"\(40, 41\).*\(40, 40\)"):
        encoder.enhance(make_image(40, 41), base)
    with pytest.raises(ImageError, match=r"the base is of another picture: \d+ of \d+ symbols"):
        encoder.enhance(make_image(40, 40, seed=9), base)


def test_enhancement_alone_is_no_picture(encoder: Encoder, decoder: Decoder) -> None:
    image = make_image(40, 40)
    enhancement = encoder.enhance(image, encoder.encode(image, 1, 2).bitstream).bitstream

    with pytest.raises(DamagedContainerError, match="together with the base"):
        decoder.decode_latent(enhancement)


def test_enhancement_of_another_base_is_refused(encoder: Encoder, decoder: Decoder) -> None:
    image = make_image(40, 40)
    bases = {key: encoder.encode(image, *key).bitstream for key in ((0, 2), (1, 2), (1, 3))}
    enhancement = encoder.enhance(image, bases[1, 2]).bitstream
    larger = encoder.encode(make_image(40, 41), 1, 2).bitstream

    with pytest.raises(DamagedContainerError, match="from group 2 .* level 0 .* needs group 1"):
        decoder.decode_latent(bases[0, 2], enhancement)
    with pytest.raises(DamagedContainerError, match="quality 2; .* quality 3 needs"):
        decoder.decode_latent(bases[1, 3], enhancement)
    with pytest.raises(DamagedContainerError, match=r"\(40, 40\).*\(40, 41\)"):
        decoder.decode_latent(larger, enhancement)
    with pytest.raises(DamagedContainerError, match="base container of level 1"):
        decoder.decode_latent(bases[1, 2], bases[1, 2])


@pytest.mark.parametrize(
    "change", [{"quality": 6}, {"image_hw": (16, 33)}, {"image_hw": (8192, 8192)}]
)
def test_sealed_container_that_contradicts_the_model_is_refused(
    encoder: Encoder, decoder: Decoder, change: dict[str, object]
) -> None:
    container = parse_container(encoder.encode(make_image(16, 16), 0, 0).bitstream)
    forged = pack_container(replace(container, **change))  # type: ignore[arg-type]  # any field, by name

    with pytest.raises(DamagedContainerError, match=r"has levels|symbols"):
        decoder.decode_latent(forged)


def test_level_that_the_model_has_not_is_refused(encoder: Encoder, decoder: Decoder) -> None:
    container = parse_container(encoder.encode(make_image(16, 16), 3, 0).bitstream)
    fifth = replace(container.sections[-1], group=4)
    forged = replace(container, level=4, sections=(*container.sections, fifth))

    with pytest.raises(DamagedContainerError, match=r"level 4.*levels 0\.\.3"):
        decoder.decode_latent(pack_container(forged))


def test_latents_of_different_levels_share_a_batch() -> None:
    latents = [
        Latent(np.full((1, channels, 2, 3), 7, np.float32), level, 0, (32, 48))
        for level, channels in ((0, 8), (3, 32))
    ]

    y_hat = widen_latents(latents, 32)

    assert y_hat.shape == (2, 32, 2, 3)
    assert (y_hat[0, :8] == 7).all()
    assert (y_hat[0, 8:] == 0).all()
    assert (y_hat[1] == 7).all()
    assert one_hot_levels(latents, 4).tolist() == [[1, 0, 0, 0], [0, 0, 0, 1]]
