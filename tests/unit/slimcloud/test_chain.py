"""Frames are decoded with what they need, each as seldom as can be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slimcloud.chain import ChainDecoder, CodedFrame
from slimcloud.frame_id import FrameId
from slimcodec.container import MAX_LEVELS
from slimcodec.errors import MissingReferenceError
from support.cloud.scene import Scene
from support.cloud.whole_cloud import ToyModels


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ToyModels:
    directory: Path = tmp_path_factory.mktemp("models")
    return ToyModels(directory, prior="context")


@pytest.fixture
def scene(models: ToyModels) -> Scene:
    """Frame 1 alone, 2 against it, 3 against 2 and without a change, 4 against 3."""
    scene = Scene(models)
    scene.encode(1)
    scene.encode(2, 1)
    scene.encode(3, 2, place=2)
    scene.encode(4, 3)
    return scene


@pytest.fixture
def found(models: ToyModels, scene: Scene) -> tuple[ChainDecoder, list[bool]]:
    """A decoder, and whether symbols were kept for it."""
    found: list[bool] = []
    return ChainDecoder(scene.decoder, models.artifact, found.append), found


def _id(sequence: int) -> FrameId:
    return FrameId("gate", 1, sequence)


def _coded(scene: Scene, sequence: int, chain: tuple[int, ...] = ()) -> CodedFrame:
    needed = tuple((_id(n), scene.frames[n].bitstream) for n in chain)
    return CodedFrame(scene.frames[sequence].bitstream, None, _id(sequence), needed)


def test_a_frame_is_decoded_with_all_that_it_needs(
    scene: Scene, found: tuple[ChainDecoder, list[bool]]
) -> None:
    decoder, kept = found

    decoded = decoder.decode(_coded(scene, 4, (1, 2, 3)))

    assert decoded.symbols is not None
    assert decoded.symbols.digest == scene.symbols(4).digest
    assert kept == [False]
    assert [decoder.kept(_id(n)) is not None for n in (1, 2, 3, 4, 5)] == [True] * 4 + [False]


def test_what_is_kept_is_not_decoded_again(
    scene: Scene, found: tuple[ChainDecoder, list[bool]]
) -> None:
    decoder, kept = found
    decoder.decode(_coded(scene, 1))
    decoder.decode(_coded(scene, 2, (1,)))
    damaged = ((_id(1), b""), (_id(2), b""), (_id(3), scene.frames[3].bitstream))
    decoder.decode(CodedFrame(scene.frames[4].bitstream, None, _id(4), damaged))

    again = CodedFrame(scene.frames[4].bitstream, None, _id(4), scene.symbols(3))

    assert decoder.decode(again).activity == float(scene.symbols(4).changed.mean())
    assert kept == [True, False, True]


def test_a_frame_without_what_it_needs_is_not_decoded(
    scene: Scene, found: tuple[ChainDecoder, list[bool]]
) -> None:
    decoder, _ = found

    for chain in ((), (2,), (1,), (1, 2, 3)):
        with pytest.raises(MissingReferenceError):
            decoder.decode(_coded(scene, 3 if len(chain) != 1 else 4, chain))


def test_what_a_frame_brought_has_its_own_level(
    scene: Scene, found: tuple[ChainDecoder, list[bool]]
) -> None:
    decoder, _ = found
    decoded = [decoder.decode(_coded(scene, n, tuple(range(1, n)))) for n in (1, 2, 3)]

    assert [frame.coded_level for frame in decoded] == [0, 0, MAX_LEVELS]
    assert decoded[0].activity is None
    assert 0 < (decoded[1].activity or 0) < 0.5
    assert decoded[2].activity == 0


def test_frames_that_nothing_can_need_are_not_kept(
    scene: Scene, found: tuple[ChainDecoder, list[bool]]
) -> None:
    decoder, _ = found
    enhanced = CodedFrame(scene.frames[1].bitstream, scene.enhance(1), _id(1))

    latent = decoder.decode(enhanced).latent

    assert latent.level > 0
    assert decoder.kept(_id(1)) is None
    assert decoder.decode_image(latent).shape == (*np.array(latent.image_hw), 3)
