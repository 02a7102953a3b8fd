"""The classic codecs."""

import io

import av
import numpy as np
import pytest
from PIL import Image

from slimcodec.pixels import psnr_db
from slimtrain.evaluation.baseline import BASELINES, Baseline
from support.models.toy_artifact import make_image

CODECS = pytest.mark.parametrize("codec", BASELINES.values(), ids=BASELINES.keys())


@CODECS
def test_a_finer_quality_costs_more_and_looks_better(codec: Baseline) -> None:
    image = make_image(75, 131)  # odd sides
    coarse, fine = (codec.code(image, codec.ladder[at]) for at in (0, -1))

    assert coarse.image_hat.shape == fine.image_hat.shape == image.shape
    assert len(coarse.bitstream) < len(fine.bitstream)
    assert 20 < psnr_db(image, coarse.image_hat) < psnr_db(image, fine.image_hat)
    assert psnr_db(image, fine.image_hat) > 32  # its chroma is halved, so not transparent


@CODECS
def test_a_grey_picture_keeps_its_grey(codec: Baseline) -> None:
    image = np.full((64, 64, 3), (200, 200, 200), np.uint8)

    decoded = codec.code(image, codec.ladder[-1]).image_hat

    assert np.abs(decoded.astype(int) - 200).max() <= 3  # a wrong range would shift it by 15


def test_the_streams_are_whole_files_that_others_read() -> None:
    image = make_image(64, 96)
    streams = {
        name: codec.code(image, codec.ladder[-1]).bitstream for name, codec in BASELINES.items()
    }

    for name in ("jpeg", "webp", "avif"):
        with Image.open(io.BytesIO(streams[name])) as opened:
            assert opened.format == name.upper()
            assert opened.size == (96, 64)
    with av.open(io.BytesIO(streams["hevc"]), "r", format="hevc") as container:
        frames = list(container.decode(video=0))
        assert [(frame.width, frame.height) for frame in frames] == [(96, 64)]
        assert container.streams.video[0].codec_context.name == "hevc"
