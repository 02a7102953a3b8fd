"""The pictures that an edge keeps for people who want them sharper."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slimcodec.pixels import psnr_db
from slimcodec.symbols import FrameSymbols
from slimedge.memory.originals import KeptFrame, Originals, pack

HW = (48, 64)


def make_kept(sequence: int, *, with_symbols: bool = True) -> KeptFrame:
    y, x = np.mgrid[: HW[0], : HW[1]]
    image = np.stack([2 * x, 3 * y, x + y + sequence], axis=2).astype(np.uint8)
    random = np.random.default_rng(sequence)
    held = FrameSymbols(
        fingerprint=b"8 bytes.",
        image_hw=HW,
        symbols=random.integers(-9, 9, (4, 4, 32)).astype(np.int16),
        levels=random.integers(0, 3, (4, 4)).astype(np.uint8),
        qualities=random.integers(0, 900, (4, 4)).astype(np.uint16),
        changed=random.random((4, 4)) < 0.5,
        depth=3,
    )
    return KeptFrame(sequence, image, b"base %d" % sequence, held if with_symbols else None)


SIZE = len(pack(make_kept(1)))


@pytest.fixture(params=["memory", "files"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "gate.originals" if request.param == "files" else None


async def kept_of(originals: Originals, *sequences: int) -> list[int]:
    found = [await originals.get(sequence) for sequence in sequences]
    return [frame.sequence for frame in found if frame is not None]


@pytest.mark.parametrize("with_symbols", [True, False])
async def test_a_frame_comes_back_with_the_very_symbols_and_nearly_the_picture(
    folder: Path | None, with_symbols: bool
) -> None:
    originals, frame = Originals(10, 10**6, folder), make_kept(7, with_symbols=with_symbols)
    originals.add(frame, 1.0)
    await originals.get(0)  # behind what packs the frame

    found = await originals.get(7)

    assert found is not None
    assert (found.sequence, found.base) == (7, frame.base)
    assert psnr_db(frame.image, found.image) > 30
    if frame.held is None:
        assert found.held is None
    else:
        assert found.held is not None
        assert (found.held.digest, found.held.depth) == (frame.held.digest, 3)
    originals.close()


async def test_the_oldest_leave_when_bytes_or_frames_are_too_many(folder: Path | None) -> None:
    by_bytes, by_frames = Originals(100, 3 * SIZE + 40, folder), Originals(2, 10**6)
    for originals in (by_bytes, by_frames):
        for sequence in range(1, 6):
            originals.add(make_kept(sequence), float(sequence))
            await originals.get(0)

    assert await kept_of(by_bytes, *range(1, 6)) == [3, 4, 5]
    assert await kept_of(by_frames, *range(1, 6)) == [4, 5]
    assert (by_bytes.oldest, by_frames.oldest) == (3, 4)
    assert by_bytes.size_bytes <= 3 * SIZE + 40
    assert by_bytes.seconds == pytest.approx(2, abs=0.1)
    if folder is not None:
        assert len(list(folder.iterdir())) == 3
        by_bytes.close()
        assert not folder.exists()


async def test_how_long_frames_are_kept_is_told_before_it_is_full() -> None:
    originals = Originals(100, 60 * SIZE)
    assert originals.seconds == 0
    for sequence in range(1, 7):
        originals.add(make_kept(sequence), 10.0 * sequence)
        await originals.get(0)

    assert originals.seconds == pytest.approx(60 * 10 * 5 / 7, rel=0.05)


async def test_what_is_larger_than_all_or_cannot_be_written_is_not_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    small, broken = Originals(100, SIZE // 2), Originals(100, 10**6, tmp_path / "file" / "gate")
    for originals in (small, broken):
        for sequence in (1, 2):
            originals.add(make_kept(sequence), 0.0)
            await originals.get(0)

    assert await kept_of(small, 1, 2) == await kept_of(broken, 1, 2) == []
    assert (small.size_bytes, broken.size_bytes) == (0, 0)
    assert len(caplog.records) == 1  # once, not for each frame


async def test_a_damaged_file_is_no_frame_and_a_start_forgets_those_of_before(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "gate.originals"
    originals = Originals(100, 10**6, folder)
    for sequence in (1, 2, 3):
        originals.add(make_kept(sequence), 0.0)
        await originals.get(0)
    (folder / "1.npz").write_bytes(b"PK\x03\x04 torn")
    (folder / "2.npz").unlink()

    assert await kept_of(originals, 1, 2, 3) == [3]
    assert await kept_of(Originals(100, 10**6, folder), 3) == []
    assert not folder.exists()
