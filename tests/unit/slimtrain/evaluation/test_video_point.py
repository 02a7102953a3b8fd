"""Streams of x264 and x265: keys, bytes, and what a decoder shows where packets are lost."""

import numpy as np
import pytest

from slimcodec.pixels import psnr_db
from slimtrain.evaluation.video import Clip, Image
from slimtrain.evaluation.video_point import (
    STREAM_CODECS,
    Packet,
    decode_stream,
    encode_stream,
)
from support.models.toy_artifact import make_image

FRAMES = 8


@pytest.fixture(scope="module")
def clip() -> Clip:
    """A picture that moves by three pixels a frame; both sides are odd."""
    wide = make_image(75, 200, seed=1)
    images = [np.ascontiguousarray(wide[:, 3 * n : 3 * n + 131]) for n in range(FRAMES)]
    return Clip("street", 1.0, 0.0, range(1, FRAMES + 1), images)


def _encode(name: str, clip: Clip, key_seconds: float = 60.0, quality: int = 30) -> list[Packet]:
    return encode_stream(STREAM_CODECS[name], quality, key_seconds, clip)


def _show(name: str, packets: list[Packet], clip: Clip, *lost: int) -> list[Image | None]:
    gone = np.isin(np.arange(FRAMES), lost)
    return list(decode_stream(STREAM_CODECS[name], packets, gone, clip))


def _are_same(a: Image | None, b: Image | None) -> bool:
    return a is not None and b is not None and np.array_equal(a, b)


@pytest.mark.parametrize("name", STREAM_CODECS)
def test_every_frame_is_a_packet_and_shown_at_once(name: str, clip: Clip) -> None:
    packets = _encode(name, clip)

    shown = _show(name, packets, clip)

    assert len(packets) == FRAMES
    assert [p.is_key for p in packets] == [True] + [False] * (FRAMES - 1)
    for number, image in enumerate(shown):
        assert image is not None
        fidelity = [psnr_db(original, image) for original in clip.images]
        assert int(np.argmax(fidelity)) == number
        assert fidelity[number] > 24


@pytest.mark.parametrize("name", STREAM_CODECS)
def test_keys_come_at_the_interval_and_nowhere_else(name: str, clip: Clip) -> None:
    after = [np.asarray(255 - image, np.uint8) for image in clip.images[5:]]
    cut = Clip("cut", 1.0, 0.0, clip.numbers, [*clip.images[:5], *after])

    packets = _encode(name, cut, key_seconds=4.0)

    assert [number for number, packet in enumerate(packets) if packet.is_key] == [0, 4]


def test_a_finer_stream_is_larger_and_a_slower_preset_another(clip: Clip) -> None:
    sizes = {
        (name, quality): sum(len(p.data) for p in _encode(name, clip, quality=quality))
        for name in STREAM_CODECS
        for quality in (26, 50)
    }

    for name in STREAM_CODECS:
        assert sizes[name, 26] > 2 * sizes[name, 50]
    assert len({sizes[name, 26] for name in STREAM_CODECS}) == len(STREAM_CODECS)


def test_x264_does_not_pay_for_its_name(clip: Clip) -> None:
    packets = _encode("x264-medium", clip)

    assert b"x264" not in packets[0].data
    assert all(len(p.data) < 3000 for p in packets)


@pytest.mark.parametrize("name", STREAM_CODECS)
def test_a_lost_packet_changes_what_comes_after_it(name: str, clip: Clip) -> None:
    packets = _encode(name, clip)

    whole, lossy = _show(name, packets, clip), _show(name, packets, clip, 3)

    assert lossy[3] is None
    for number in (0, 1, 2):
        assert _are_same(whole[number], lossy[number])
    for number in (4, 7):
        before, after = whole[number], lossy[number]
        assert before is not None
        assert after is not None
        assert psnr_db(clip.images[number], after) < psnr_db(clip.images[number], before) - 1


def test_a_key_ends_the_damage(clip: Clip) -> None:
    packets = _encode("x264-medium", clip, key_seconds=4.0)

    whole, lossy = (_show("x264-medium", packets, clip, *lost) for lost in ((), (2,)))

    assert not _are_same(whole[3], lossy[3])
    for number in (4, 5, 6, 7):
        assert _are_same(whole[number], lossy[number])


def test_where_nothing_can_be_decoded_the_last_picture_stands(clip: Clip) -> None:
    packets = _encode("x264-medium", clip)
    packets[3] = Packet(b"\0\0\1\x0c\xff\x80", False, 0.0)  # a filler: there is no picture in it

    shown = _show("x264-medium", packets, clip)

    assert _are_same(shown[3], shown[2])
