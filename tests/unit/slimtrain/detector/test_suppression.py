"""The product's suppression is torchvision's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.ops import batched_nms

from slimdetect.boxes import suppress


@pytest.mark.parametrize("iou_threshold", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("n", [0, 1, 2, 300])
def test_suppression_agrees_with_torchvision(n: int, iou_threshold: float) -> None:
    rng = np.random.default_rng(n)
    corner = rng.uniform(0, 80, (n, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 40, (n, 2))], axis=1, dtype=np.float32)
    scores = rng.permutation(np.linspace(0.1, 0.9, n)).astype(np.float32)
    class_ids = rng.integers(0, 3, n)

    kept = suppress(boxes, scores, class_ids, iou_threshold=iou_threshold)

    given = map(torch.from_numpy, (boxes, scores, class_ids))
    assert kept.tolist() == batched_nms(*given, iou_threshold).tolist()
