"""Calibration replaces what it measured and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimcodec.decode import Decoder
from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.load import load_codec_artifact, load_detector_artifact
from slimcodec.model.manifest import Calibration, EncodeTiming, Profile, ProfilePoint
from slimdetect.detector import Detector
from slimtrain.calibration.calibrate import (
    CalibrationError,
    merge_calibration,
    time_encoding,
    write_profile,
)
from slimtrain.calibration.measure import Utilities, mean_bpp, measure_pictures
from slimtrain.figures.mean_average_precision import MEASURED
from support.models.toy_artifact import make_image, make_toy_codec, make_toy_detector

TIMING = EncodeTiming(level=0, height=64, width=96, encode_seconds=0.5)
HERE = Calibration(device="a processor", timings=(TIMING,), pictures=2, command="now")
EVALUATED = Profile(
    points=(
        ProfilePoint(level=0, quality=0, bpp=0.1, map50_relative=0.8, psnr_db=25.0),
        ProfilePoint(level=0, quality=1.5, bpp=0.15, map50_relative=0.85),
        ProfilePoint(level=1, quality=0, bpp=0.2, map50_relative=0.9),
    ),
    pictures=64,
    command="before",
)


def test_bits_are_replaced_and_accuracy_is_kept() -> None:
    merged = merge_calibration(EVALUATED, {(0, 0): 0.12, (1, 0): 0.25}, None, HERE)

    assert {(p.level, p.quality): (p.bpp, p.map50_relative) for p in merged.points} == {
        (0, 0): (0.12, 0.8),
        (1, 0): (0.25, 0.9),
        (0, 1.5): (0.15, 0.85),  # between the trained qualities: not measured here
    }
    assert merged.points[0].psnr_db == 25.0
    assert (merged.pictures, merged.command) == (64, "before")
    assert merged.calibration == HERE


def test_seconds_alone_leave_the_points_as_they_are() -> None:
    earlier = merge_calibration(EVALUATED, {(0, 0): 0.12}, None, HERE)

    merged = merge_calibration(
        earlier, {}, None, HERE.model_copy(update={"device": "another", "pictures": 0})
    )

    assert merged.points == earlier.points
    assert merged.calibration is not None
    assert merged.calibration.device == "another"
    assert merged.calibration.pictures == 2  # the points' bits are still those of the first device


def test_seconds_alone_make_no_profile() -> None:
    with pytest.raises(CalibrationError, match="measure the bytes"):
        merge_calibration(None, {}, None, HERE)


def test_a_model_without_a_profile_gets_one_from_its_bytes() -> None:
    merged = merge_calibration(None, {(0, 0): 0.12}, None, HERE)

    assert merged.points == (ProfilePoint(level=0, quality=0, bpp=0.12),)
    assert merged.pictures == 2


def test_what_is_measured_is_what_the_encoder_does(tmp_path: Path) -> None:
    artifact = load_codec_artifact(make_toy_codec(tmp_path))
    runtime = OpenVinoRuntime(num_threads=1)
    picture = make_image(64, 96)

    bpp = mean_bpp(list(measure_pictures(artifact, None, runtime, [picture])))
    timings = time_encoding(artifact, runtime, [(64, 96), (32, 32)], like=picture, repeats=1)

    encoded = Encoder(artifact, runtime).encode(picture, 2, 3)
    assert bpp[2, 3] == encoded.bpp
    assert len(bpp) == 4 * 6
    found = [(timing.height, timing.width, timing.level) for timing in timings]
    assert found == [(h, w, level) for h, w in ((64, 96), (32, 32)) for level in range(4)]
    assert all(timing.encode_seconds > 0 for timing in timings)


def test_a_pictures_boxes_are_those_that_the_cloud_would_find(tmp_path: Path) -> None:
    artifact = load_codec_artifact(make_toy_codec(tmp_path))
    detector = load_detector_artifact(make_toy_detector(tmp_path))
    runtime = OpenVinoRuntime(num_threads=1, precision="f32")
    pictures = [make_image(64, 96), make_image(48, 64, seed=1)]

    measured = list(measure_pictures(artifact, detector, runtime, pictures))

    container = Encoder(artifact, runtime).encode(pictures[1], 1, 2).bitstream
    latent = Decoder(artifact, runtime).decode_latent(container)
    session = Detector(artifact, detector, runtime)
    served = session.detect_latents([latent], MEASURED)[0]
    before = session.detect_image(pictures[1], MEASURED)
    assert [picture.image_hw for picture in measured] == [(64, 96), (48, 64)]
    assert measured[1].num_bytes[1, 2] == len(container)
    assert measured[1].found[1, 2].class_ids.tolist() == [d.class_id for d in served]
    assert measured[1].uncompressed is not None
    assert measured[1].uncompressed.class_ids.tolist() == [d.class_id for d in before]
    assert len(served) > 0 < len(before)


def test_utility_is_kept_beside_what_evaluation_measured() -> None:
    utilities = Utilities("uncompressed", {(0, 0): 0.71234, (1, 0): 0.9}, 1.0, 3, 40)

    merged = merge_calibration(EVALUATED, {(0, 0): 0.12, (1, 0): 0.25}, utilities, HERE)
    later = merge_calibration(merged, {(0, 0): 0.13, (1, 0): 0.26}, None, HERE)

    assert {(p.level, p.quality): (p.utility, p.map50_relative) for p in merged.points} == {
        (0, 0): (0.7123, 0.8),
        (1, 0): (0.9, 0.9),
        (0, 1.5): (None, 0.85),
    }
    said = (merged.utility_source, merged.utility_pictures, merged.utility_command)
    assert said == ("uncompressed", 2, "now")
    assert [p.utility for p in later.points] == [p.utility for p in merged.points]
    assert later.utility_source == "uncompressed"


def test_a_written_profile_is_read_back_with_the_model(tmp_path: Path) -> None:
    folder = make_toy_codec(tmp_path)
    profile = merge_calibration(EVALUATED, {(0, 0): 0.12}, None, HERE)

    write_profile(folder, profile)

    assert load_codec_artifact(folder).profile == profile
    assert not list(folder.glob("*.part"))
