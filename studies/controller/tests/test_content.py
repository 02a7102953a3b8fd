from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from studies.controller.errors import ContentError
from studies.controller.simulation.content import (
    GAPS,
    Content,
    load_street,
    read_content,
    record_content,
    record_references,
    write_content,
)

POINTS = [(0, 0.0), (1, 2.0)]


def record() -> Content:
    pictures = [np.full((4, 6, 3), value, np.uint8) for value in (1, 2, 3)]
    return record_content(
        pictures,
        POINTS,
        encode=lambda image, level, quality: 100 * int(image[0, 0, 0]) + 10 * level + int(quality),
    )


def test_recording_holds_every_frame_at_every_point() -> None:
    content = record()

    assert content.image_hw == (4, 6)
    assert content.sizes.tolist() == [[100, 112], [200, 212], [300, 312]]
    assert content.size_bytes(1, 1, 2.0) == 212
    assert content.size_bytes(4, 1, 2.0) == 212  # again from the start


def with_references() -> Content:
    """Against a reference each frame takes as many bytes as its value is from the other's."""
    pictures = [np.full((4, 6, 3), value, np.uint8) for value in (1, 2, 4)]

    def encode(
        image: NDArray[np.uint8], level: int, quality: float, reference: int | None
    ) -> tuple[int, int]:
        value = int(image[0, 0, 0])
        return 50 * abs(value - (reference or 0)) + level, value

    return record_references(record(), pictures, encode, gaps=(1, 4))


def test_a_frame_takes_what_it_took_against_frames_that_came_so_long_before_it() -> None:
    content = with_references()

    # against the frame before, and the one that came four before: that is the one before, too
    assert content.inter_sizes[:, :, 0].tolist() == [[150, 50, 100], [150, 50, 100]]
    assert content.size_bytes(1, 1, 2.0, gap=1) == 51
    assert content.size_bytes(1, 1, 2.0, gap=9) == 51
    assert content.alone.size_bytes(1, 1, 2.0) == 212
    assert content.from_frame(1).inter_sizes[:, :, 0].tolist() == [[50, 100, 150]] * 2
    assert content.scaled((8, 12)).size_bytes(1, 1, 2.0, gap=2) == 204


def test_between_two_recorded_gaps_bytes_grow_evenly_in_logarithms() -> None:
    sizes = np.array([[[100]], [[1600]]], np.uint32)
    content = Content((0,), (0.0,), np.full((1, 1), 9000, np.uint32), (4, 6), (1, 16), sizes)

    assert [content.size_bytes(0, 0, 0.0, gap) for gap in (1, 4, 16)] == [100, 400, 1600]


@pytest.mark.parametrize("make", [record, with_references])
def test_recording_survives_its_file(make: Callable[[], Content], tmp_path: Path) -> None:
    content = make()
    write_content(content, tmp_path / "a.npz")

    again = read_content(tmp_path / "a.npz")

    assert (again.levels, again.qualities) == (content.levels, content.qualities)
    assert (again.image_hw, again.gaps) == (content.image_hw, content.gaps)
    assert (again.sizes == content.sizes).all()
    assert (again.inter_sizes == content.inter_sizes).all()


def test_bytes_grow_with_the_pixels() -> None:
    scaled = record().scaled((8, 12))

    assert scaled.sizes.tolist() == [[400, 448], [800, 848], [1200, 1248]]
    assert scaled.image_hw == (8, 12)


def test_points_that_were_not_recorded_are_refused() -> None:
    with pytest.raises(ContentError, match="level 1, quality 1 was not recorded"):
        record().size_bytes(0, 1, 1.0)


def test_pictures_of_two_sizes_and_no_pictures_are_refused() -> None:
    pictures = [np.ones((4, 6, 3), np.uint8), np.ones((4, 7, 3), np.uint8)]

    with pytest.raises(ContentError, match="one camera"):
        record_content(pictures, POINTS, lambda *_: 7)
    with pytest.raises(ContentError, match="no frames"):
        record_content([], POINTS, lambda *_: 7)


def test_files_that_are_no_recording_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 nothing")
    np.savez(tmp_path / "b.npz", levels=np.arange(3))

    for name in ("a.npz", "b.npz", "none.npz"):
        with pytest.raises(ContentError, match="record it again"):
            read_content(tmp_path / name)


def test_recording_that_comes_with_the_package() -> None:
    content = load_street()

    assert content.sizes.shape == (120, 24)
    assert content.image_hw == (576, 768)
    # a finer quality of a level never takes fewer bytes
    sizes = content.sizes.reshape(120, 4, 6).astype(int)
    assert (np.diff(sizes, axis=2) > 0).all()
    assert content.inter_sizes.shape == (len(GAPS), 120, 24)
    assert (content.inter_sizes < content.sizes).all()
