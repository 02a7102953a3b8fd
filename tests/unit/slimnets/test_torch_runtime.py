"""The torch runtime serves the same artifacts as the exported graphs, and says the same."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from slimcodec import (
    CodecArtifact,
    Decoder,
    DetectorArtifact,
    Encoder,
    ModelError,
    OpenVinoRuntime,
    find_model,
    load_codec_artifact,
    load_detector_artifact,
    parse_container,
)
from slimdetect import Detection, Detector
from slimnets.torch_runtime import GroupWise, TorchRuntime

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def codec() -> CodecArtifact:
    return load_codec_artifact(find_model("codec", "slim-n", ROOT / "models"))


@pytest.fixture(scope="module")
def detector() -> DetectorArtifact:
    return load_detector_artifact(find_model("detector", "yolov3-slim", ROOT / "models"))


@pytest.fixture(scope="module")
def frame() -> NDArray[np.uint8]:
    """A picture of the sample video: 768 x 576 pixels, people in a street."""
    with av.open(str(ROOT / "samples" / "street.mp4")) as video:
        picture = next(video.decode(video=0))
    return np.asarray(picture.to_ndarray(format="rgb24"), dtype=np.uint8)


@pytest.fixture(scope="module")
def torch_runtime() -> TorchRuntime:
    return TorchRuntime("cpu")


@pytest.fixture(scope="module")
def openvino_runtime() -> OpenVinoRuntime:
    return OpenVinoRuntime(num_threads=2, precision="f32")


@pytest.mark.parametrize("level", range(4))
def test_analysis_agrees_with_the_exported_graph_within_rounding(
    codec: CodecArtifact,
    frame: NDArray[np.uint8],
    torch_runtime: TorchRuntime,
    openvino_runtime: OpenVinoRuntime,
    level: int,
) -> None:
    path = codec.directory / f"g_a_{level}.onnx"
    x = (frame[:96, :128].transpose(2, 0, 1)[None] / 255).astype(np.float32)

    exported = openvino_runtime.load(path)(x=x)["y"]
    merged = torch_runtime.load(path)(x=x)["y"]
    groups = TorchRuntime("cpu", analysis=GroupWise.PER_GROUP).load(path)(x=x)["y"]

    assert merged.shape == exported.shape == groups.shape
    scale = np.abs(groups).max()
    np.testing.assert_allclose(merged, exported, atol=1e-4 * scale)
    np.testing.assert_allclose(merged, groups, atol=1e-4 * scale)


@pytest.mark.parametrize("level", range(4))
def test_detections_are_the_same_from_groups_and_from_merged_exported_graphs(
    codec: CodecArtifact,
    detector: DetectorArtifact,
    frame: NDArray[np.uint8],
    openvino_runtime: OpenVinoRuntime,
    level: int,
) -> None:
    in_groups = TorchRuntime("cpu", analysis=GroupWise.PER_GROUP)

    by_groups = detections(codec, detector, frame, in_groups, in_groups, level)
    merged = detections(codec, detector, frame, openvino_runtime, openvino_runtime, level)

    assert len(by_groups) > 0
    assert [d.class_id for d in merged] == [d.class_id for d in by_groups]
    for ours, theirs in zip(merged, by_groups, strict=True):
        assert ours.box_xyxy == pytest.approx(theirs.box_xyxy, abs=1.0)
        assert ours.score == pytest.approx(theirs.score, abs=0.02)


def test_group_wise_base_and_enhancement_are_exactly_the_full_stream(
    codec: CodecArtifact, frame: NDArray[np.uint8]
) -> None:
    encoder = Encoder(codec, TorchRuntime("cpu", analysis=GroupWise.PER_GROUP))
    image = frame[:160, :224]

    full = parse_container(encoder.encode(image, 3, 2).bitstream)
    base = encoder.encode(image, 0, 2).bitstream
    enhancement = parse_container(encoder.enhance(image, base).bitstream)

    joined = [*parse_container(base).sections, *enhancement.sections]
    assert [section.data for section in joined] == [section.data for section in full.sections]


def test_pictures_of_both_runtimes_agree(
    codec: CodecArtifact,
    frame: NDArray[np.uint8],
    torch_runtime: TorchRuntime,
    openvino_runtime: OpenVinoRuntime,
) -> None:
    bitstream = Encoder(codec, openvino_runtime).encode(frame[:128, :128], 3, 3).bitstream

    ours, theirs = (
        decoder.decode_image(decoder.decode_latent(bitstream)).astype(int)
        for decoder in (Decoder(codec, torch_runtime), Decoder(codec, openvino_runtime))
    )

    assert np.abs(ours - theirs).max() <= 1


def test_graph_of_no_such_name_is_refused(
    codec: CodecArtifact, torch_runtime: TorchRuntime
) -> None:
    with pytest.raises(ModelError, match="no graph g_x"):
        torch_runtime.load(codec.directory / "g_x.onnx")


def test_folder_without_weights_is_refused(tmp_path: Path, torch_runtime: TorchRuntime) -> None:
    with pytest.raises(ModelError, match="cannot be built from the weights there"):
        torch_runtime.load(tmp_path / "g_s.onnx")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_exported_graph(
    codec: CodecArtifact, frame: NDArray[np.uint8], openvino_runtime: OpenVinoRuntime
) -> None:
    path = codec.directory / "g_a_0.onnx"
    x = (frame[:96, :128].transpose(2, 0, 1)[None] / 255).astype(np.float32)

    expected = openvino_runtime.load(path)(x=x)["y"]

    np.testing.assert_allclose(TorchRuntime("cuda").load(path)(x=x)["y"], expected, atol=1e-2)


def detections(
    codec: CodecArtifact,
    detector: DetectorArtifact,
    image: NDArray[np.uint8],
    edge: TorchRuntime | OpenVinoRuntime,
    cloud: TorchRuntime | OpenVinoRuntime,
    level: int,
) -> list[Detection]:
    """What the cloud finds in the picture at the finest quality."""
    quality = codec.manifest.qualities - 1
    bitstream = Encoder(codec, edge).encode(image, level, quality).bitstream
    latent = Decoder(codec, cloud).decode_latent(bitstream)
    found = Detector(codec, detector, cloud).detect_latents([latent], min_score=0.4)[0]
    return sorted(found, key=lambda d: (round(d.box_xyxy[0] / 8), round(d.box_xyxy[1] / 8)))
