"""A feature transform that ends in the detector's own first layers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimnets.codec.codec import CodecNet
from slimnets.codec.config import CodecConfig
from slimnets.codec.stem_transform import StemFeatureTransform, stem_cfg
from slimnets.darknet.cfg import parse_cfg
from slimnets.errors import CfgError
from slimnets.export.codec import export_feature_transform
from support.models.darknets import ALL_LAYERS_SPLIT, make_darknet
from support.models.toy_artifact import make_image

CONFIG = CodecConfig(
    channels=((4, 4, 6, 96), (6, 8, 8, 192)),
    qualities=2,
    feature_channels=8,
    feature_width=8,
    synthesis_widths=(8, 8, 8, 8),
    block_transform=True,
    feature_transform="stem",
    stem=stem_cfg(make_darknet(), ALL_LAYERS_SPLIT),
)


@pytest.fixture
def codec() -> CodecNet:
    torch.manual_seed(4)
    codec = CodecNet(CONFIG).eval()
    assert isinstance(codec.feature_transform, StemFeatureTransform)
    codec.feature_transform.take_stem(make_darknet())
    return codec


def pictures(count: int) -> torch.Tensor:
    images = np.stack([make_image(64, 96, seed=i) for i in range(count)])
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def test_stem_is_the_detector_up_to_the_split(codec: CodecNet) -> None:
    x, detector = pictures(2), make_darknet().eval()
    transform = codec.feature_transform
    assert isinstance(transform, StemFeatureTransform)

    f = transform.stem.run(x, 0, frozenset((transform.last_layer,)))[transform.last_layer]

    torch.testing.assert_close(f, detector.stem(x, ALL_LAYERS_SPLIT), rtol=1e-4, atol=1e-5)
    assert len(parse_cfg(CONFIG.stem)) == ALL_LAYERS_SPLIT + 2, "[net] and the layers"


def test_codec_that_begins_as_a_dct_begins_with_the_detectors_features(codec: CodecNet) -> None:
    x = pictures(4)
    codec.start_from(x)
    f = make_darknet().eval().stem(x, ALL_LAYERS_SPLIT)

    def lost(level: int) -> float:
        y_hat = torch.nn.functional.pad(
            codec.analyse(x, level), (0, 0, 0, 0, 0, 192 - CONFIG.latent_channels[level])
        )
        f_hat = codec.feature_transform(*codec.prefix(y_hat, torch.full((len(x),), level)))
        return float((f_hat - f).square().mean() / f.var())

    with torch.no_grad():
        narrow, wide = lost(0), lost(1)
    assert wide < 0.1
    assert wide < narrow


def test_exported_graph_gives_the_same_features(codec: CodecNet, tmp_path: Path) -> None:
    codec.start_from(pictures(4))
    assert isinstance(codec.feature_transform, StemFeatureTransform)
    torch.nn.init.normal_(codec.feature_transform.correction.conv.weight, std=0.05)
    for parameter in codec.feature_transform.parameters():
        parameter.data = parameter.half().float()  # as it is stored
    path = tmp_path / "feature_transform.onnx"
    path.write_bytes(export_feature_transform(codec).SerializeToString())
    y_hat, level = codec.prefix(torch.randn(2, 192, 4, 6), torch.tensor([0, 1]))

    graph = OpenVinoRuntime(num_threads=1, precision="f32").load(path)
    found = graph(y_hat=y_hat.numpy(), level=level.numpy())["f_hat"]

    with torch.no_grad():
        expected = codec.feature_transform(y_hat, level).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    assert found.std() > 0.01


def test_configuration_without_the_layers_is_refused() -> None:
    with pytest.raises(CfgError, match="no section found"):
        CodecNet(replace(CONFIG, stem=""))
