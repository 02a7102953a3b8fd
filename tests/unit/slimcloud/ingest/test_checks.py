from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import google_crc32c
import pytest

from slimcloud.errors import CloudError, StoreFullError
from slimcloud.ingest.checks import AgeFloor, ContainerChecker
from slimcloud.ingest.refusals import refusal_of, status_of
from slimcodec.container import (
    Container,
    Prior,
    Section,
    Streams,
    pack_container,
    parse_container,
)
from slimcodec.errors import CodecError
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.load import load_codec_artifact
from support.cloud.frames import make_frame
from support.models.toy_artifact import LATENT_CHANNELS, make_toy_codec

CHANNELS_PER_GROUP = LATENT_CHANNELS[0]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> CodecArtifact:
    directory: Path = tmp_path_factory.mktemp("models")
    return load_codec_artifact(make_toy_codec(directory))


@pytest.fixture
def checker(artifact: CodecArtifact) -> ContainerChecker:
    return ContainerChecker(artifact, max_frame_bytes=2000, max_pixels=192 * 256)


def _bitstream(
    artifact: CodecArtifact,
    *,
    fingerprint: bytes | None = None,
    level: int = 1,
    first_group: int = 0,
    quality: int = 2,
    image_hw: tuple[int, int] = (48, 64),
    data: bytes = b"\0" + b"data" * 20,  # no escapes, then words; 128 symbols cost 69 bytes
    more_symbols: int = 0,
) -> bytes:
    latent_h, latent_w = artifact.latent_hw(image_hw)
    per_channel = latent_h * latent_w
    sections = tuple(
        Section(group, CHANNELS_PER_GROUP * per_channel + more_symbols, data)
        for group in range(first_group, level + 1)
    )
    return pack_container(
        Container(
            artifact.fingerprint if fingerprint is None else fingerprint,
            level,
            quality,
            image_hw,
            first_group,
            sections,
        )
    )


def _with_crc(bitstream: bytes) -> tuple[bytes, int]:
    return bitstream, google_crc32c.value(bitstream)


def _refusal(checker: ContainerChecker, bitstream: bytes, crc32c: int | None = None) -> str:
    checksum = google_crc32c.value(bitstream) if crc32c is None else crc32c
    with pytest.raises((CodecError, CloudError)) as caught:
        checker.check_base(bitstream, checksum)
    refusal = refusal_of(caught.value)
    assert refusal is not None
    return refusal.reason


def test_good_base_is_taken(artifact: CodecArtifact, checker: ContainerChecker) -> None:
    bitstream = _bitstream(artifact)

    container = checker.check_base(bitstream, google_crc32c.value(bitstream))

    assert (container.level, container.quality, container.image_hw) == (1, 2, (48, 64))


def test_each_fault_has_its_reason(artifact: CodecArtifact, checker: ContainerChecker) -> None:
    good = _bitstream(artifact)

    assert _refusal(checker, good, crc32c=1) == "CRC"
    assert _refusal(checker, b"") == "HEADER"
    assert _refusal(checker, b"JPEG") == "HEADER"
    assert _refusal(checker, good[:-1]) == "HEADER"
    assert _refusal(checker, good + b"x") == "HEADER"
    assert _refusal(checker, good[:4] + b"\x09" + good[5:]) == "HEADER"  # version of the future
    assert _refusal(checker, _bitstream(artifact, fingerprint=bytes(8))) == "MODEL"
    assert _refusal(checker, _bitstream(artifact, level=5)) == "HEADER"
    assert _refusal(checker, _bitstream(artifact, quality=6)) == "HEADER"
    assert _refusal(checker, _bitstream(artifact, first_group=1)) == "HEADER"
    assert _refusal(checker, _bitstream(artifact, data=bytes(1000))) == "TOO_LARGE"
    assert _refusal(checker, _bitstream(artifact, image_hw=(193, 256))) == "TOO_LARGE"


def test_what_the_decoder_would_refuse_unread_is_refused(
    artifact: CodecArtifact, checker: ContainerChecker
) -> None:
    picture = (192, 256)  # 8 channels of 12 x 16: 1536 symbols in a section
    data = b"\0" + b"data" * 150  # half of the 830 bytes that they cost is left to the coder
    checker.check_base(*_with_crc(_bitstream(artifact, image_hw=picture, data=data)))

    more = _bitstream(artifact, image_hw=picture, data=data, more_symbols=1)
    assert _refusal(checker, more) == "HEADER"
    assert _refusal(checker, _bitstream(artifact, image_hw=picture)) == "HEADER"  # 81 bytes
    assert _refusal(checker, _bitstream(artifact, data=b"\x05esc")) == "HEADER"
    assert _refusal(checker, _bitstream(artifact, data=b"\xff")) == "HEADER"
    assert _refusal(checker, _bitstream(artifact, data=b"\0words\0")) == "HEADER"


@pytest.mark.parametrize(
    ("streams", "prior"), [("separate", "factorized"), ("nested", "hyperprior")]
)
def test_a_container_of_another_kind_than_its_model_is_refused(
    artifact: CodecArtifact, checker: ContainerChecker, streams: Streams, prior: Prior
) -> None:
    other = replace(parse_container(_bitstream(artifact, level=0)), streams=streams, prior=prior)

    assert _refusal(checker, pack_container(other)) == "HEADER"


def test_no_flipped_bit_passes_or_escapes(
    artifact: CodecArtifact, checker: ContainerChecker
) -> None:
    good = _bitstream(artifact)
    for bit in range(8 * len(good)):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8

        assert _refusal(checker, bytes(bad)) in {"HEADER", "TOO_LARGE"}  # past its CRC32C


def test_base_is_no_enhancement(artifact: CodecArtifact, checker: ContainerChecker) -> None:
    bitstream = _bitstream(artifact)

    with pytest.raises(CodecError, match="base container"):
        checker.check_enhancement(bitstream, google_crc32c.value(bitstream), make_frame(1).record)


def test_age_counts_from_the_fastest_passage_whatever_the_edges_clock_says() -> None:
    now_us = 5_000_000
    age_floor = AgeFloor(lambda: now_us)
    edge_clock = -(10**12)  # far from ours

    assert age_floor.age_us(edge_clock) == 0
    now_us += 300_000
    assert age_floor.age_us(edge_clock + 100_000) == 200_000  # waited 200 ms more than the first
    assert age_floor.age_us(edge_clock + 350_000) == 0  # a faster one sets the measure anew
    assert age_floor.age_us(edge_clock + 300_000) == 50_000


def test_fastest_passage_is_forgotten_after_two_windows() -> None:
    now_us = 0
    age_floor = AgeFloor(lambda: now_us)

    age_floor.age_us(0)
    now_us = 61_000_000
    assert age_floor.age_us(now_us - 1000) == 1000  # the window before still counts
    now_us = 122_000_000
    assert age_floor.age_us(now_us - 1500) == 500
    now_us = 183_000_000
    assert age_floor.age_us(now_us - 1500) == 0


def test_error_that_is_not_about_a_frame_has_no_nack_but_a_status() -> None:
    assert refusal_of(ValueError("bug")) is None
    assert status_of(ValueError("bug")).name == "INTERNAL"

    full = refusal_of(StoreFullError("full"))
    assert full is not None
    assert full.retryable
