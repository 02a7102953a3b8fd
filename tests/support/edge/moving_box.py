"""A still scene in which a box moves, as pictures in a folder."""

from pathlib import Path

from PIL import Image

from support.models.toy_artifact import make_image

IMAGE_HW = (64, 96)
PLACES = 6


def paint_scene(folder: Path, num_pictures: int = PLACES) -> None:
    """Make the folder; the box comes back to its first place after six pictures."""
    folder.mkdir()
    for index in range(num_pictures):
        image, left = make_image(*IMAGE_HW).copy(), 8 * (index % PLACES)
        image[20:36, left : left + 16] = 255
        Image.fromarray(image).save(folder / f"{index:03d}.png")
