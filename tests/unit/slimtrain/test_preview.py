"""Fitting previews."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from slimcodec.decode import Decoder
from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.load import load_codec_artifact
from slimcodec.pixels import psnr_db
from slimcodec.preview import SHRINK, Previewer
from slimtrain.preview import fit_preview, write_preview
from support.models.toy_artifact import make_image, make_toy_codec


def test_what_is_fitted_shows_the_picture_and_goes_into_a_new_version(tmp_path: Path) -> None:
    codec = load_codec_artifact(make_toy_codec(tmp_path, prior="context"))
    runtime = OpenVinoRuntime(num_threads=1, precision="f32")
    pictures = [make_image(64, 96, seed=seed) for seed in range(6)]

    fitted = fit_preview(codec, pictures, runtime, draws=4)
    write_preview(codec, fitted, tmp_path / "toy" / "2", {"pictures": len(pictures)})

    version = load_codec_artifact(tmp_path / "toy" / "2")
    previewer = Previewer.of(version)
    assert previewer is not None
    assert version.fingerprint == codec.fingerprint
    image = pictures[0]
    latent = Decoder(codec, runtime).decode_latent(
        Encoder(codec, runtime).encode(image, 3, 5).bitstream
    )
    shown, h, w = previewer.preview(latent), *(side // SHRINK for side in image.shape[:2])
    small = image.reshape(h, SHRINK, w, SHRINK, 3).mean((1, 3)).astype(np.uint8)
    grey = np.full_like(small, int(small.mean()))
    assert psnr_db(small, shown) > psnr_db(small, grey) + 3
