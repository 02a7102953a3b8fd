"""Pictures on demand: each decoded once, in a bounded pool, named by what they were made from."""

import asyncio
import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from slimcloud.chain import CodedFrame, DecodedFrame
from slimcloud.frame_id import FrameId
from slimcloud.review.pictures.job_pool import BusyError
from slimcloud.review.pictures.reconstruct import Reconstructor, image_version
from slimcodec.decode import Latent
from slimcodec.errors import DamagedContainerError


class SlowDecoder:
    """Decodes when `gate` is set; a picture's grey is the first byte of its newest container."""

    def __init__(self) -> None:
        self.decodes = 0
        self.running = False
        self.gate = threading.Event()
        self.gate.set()

    def decode(self, frame: CodedFrame) -> DecodedFrame:
        if frame.base == b"bad":
            raise DamagedContainerError("checksum differs")
        y_hat = np.full((1, 1, 1, 1), (frame.enhancement or frame.base)[0], np.float32)
        level = 0 if frame.enhancement is None else 3
        return DecodedFrame(Latent(y_hat=y_hat, level=level, quality=2, image_hw=(4, 6)))

    def decode_image(self, latent: Latent) -> NDArray[np.uint8]:
        self.running = True
        assert self.gate.wait(30)
        self.decodes += 1
        return np.full((*latent.image_hw, 3), int(latent.y_hat[0, 0, 0, 0]), np.uint8)


@pytest.fixture
def decoder() -> SlowDecoder:
    return SlowDecoder()


async def test_concurrent_requests_for_one_picture_decode_it_once(decoder: SlowDecoder) -> None:
    reconstructor = Reconstructor(decoder, decoder_id="toy/1")

    first, second = await asyncio.gather(
        reconstructor.picture(CodedFrame(b"a")), reconstructor.picture(CodedFrame(b"a"))
    )
    reconstructor.close()

    assert first is second
    assert decoder.decodes == 1


async def test_an_enhancement_gives_another_picture_that_says_what_was_used(
    decoder: SlowDecoder,
) -> None:
    reconstructor = Reconstructor(decoder, decoder_id="toy/1")

    plain = await reconstructor.picture(CodedFrame(b"a"))
    enhanced = await reconstructor.picture(CodedFrame(b"a", b"bc"))
    reconstructor.close()

    used = [
        (picture.origin.level, picture.origin.is_enhanced, picture.origin.bitstream_bytes)
        for picture in (plain, enhanced)
    ]
    assert used == [(0, False, 1), (3, True, 3)]
    assert enhanced.image[0, 0, 0] == ord("b")


def test_a_version_depends_on_the_frame_its_containers_and_the_decoder() -> None:
    first, second = FrameId("gate-1", 1, 1), FrameId("gate-1", 1, 2)

    versions = {
        image_version(first, 12, 0, "toy/1"),
        image_version(second, 12, 0, "toy/1"),
        image_version(first, 1, 2, "toy/1"),
        image_version(first, 12, 3, "toy/1"),
        image_version(first, 12, 0, "toy/2"),
    }

    assert len(versions) == 5


async def test_a_full_line_refuses_and_says_when_to_come_back(decoder: SlowDecoder) -> None:
    reconstructor = Reconstructor(decoder, decoder_id="toy/1", num_workers=1, max_waiting=1)
    decoder.gate.clear()
    taken = [asyncio.create_task(reconstructor.picture(CodedFrame(base))) for base in (b"a", b"b")]
    await asyncio.sleep(0)  # each task begins its flight ...
    await asyncio.sleep(0)  # ... and each flight takes its place in the line

    with pytest.raises(BusyError) as refused:
        await reconstructor.picture(CodedFrame(b"c"))
    decoder.gate.set()
    pictures = await asyncio.gather(*taken)
    late = await reconstructor.picture(CodedFrame(b"c"))
    reconstructor.close()

    assert refused.value.retry_after_seconds >= 1
    assert [picture.image[0, 0, 0] for picture in (*pictures, late)] == [97, 98, 99]


async def test_a_picture_that_nobody_waits_for_leaves_the_line(decoder: SlowDecoder) -> None:
    reconstructor = Reconstructor(decoder, decoder_id="toy/1", num_workers=1, max_waiting=1)
    decoder.gate.clear()
    runs = asyncio.create_task(reconstructor.picture(CodedFrame(b"a")))
    waits = asyncio.create_task(reconstructor.picture(CodedFrame(b"b")))
    while not decoder.running:
        await asyncio.sleep(0)

    waits.cancel()
    await asyncio.gather(waits, return_exceptions=True)
    await asyncio.sleep(0)  # the flight hears of it ...
    await asyncio.sleep(0)  # ... and its place is free
    next_one = asyncio.create_task(reconstructor.picture(CodedFrame(b"c")))
    await asyncio.sleep(0)
    decoder.gate.set()
    await asyncio.gather(runs, next_one)
    reconstructor.close()

    assert decoder.decodes == 2


async def test_a_bad_container_is_an_error_each_time_and_frees_its_place(
    decoder: SlowDecoder,
) -> None:
    reconstructor = Reconstructor(decoder, decoder_id="toy/1", num_workers=1, max_waiting=0)

    for _ in range(3):
        with pytest.raises(DamagedContainerError):
            await reconstructor.picture(CodedFrame(b"bad"))
    picture = await reconstructor.picture(CodedFrame(b"a"))
    reconstructor.close()

    assert picture.image.shape == (4, 6, 3)
    assert not picture.image.flags.writeable


async def test_a_check_really_decodes_and_raises_what_goes_wrong(decoder: SlowDecoder) -> None:
    reconstructor = Reconstructor(decoder, decoder_id="toy/1", num_workers=1, max_waiting=0)
    good = Latent(np.zeros((1, 1, 1, 1), np.float32), level=0, quality=0, image_hw=(4, 6))
    bad = Latent(np.zeros((1, 1, 0, 1), np.float32), level=0, quality=0, image_hw=(4, 6))

    await reconstructor.check(lambda: good)
    with pytest.raises(IndexError):
        await reconstructor.check(lambda: bad)
    reconstructor.close()

    assert decoder.decodes == 2
