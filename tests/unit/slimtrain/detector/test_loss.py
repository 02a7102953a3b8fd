"""The detector's loss."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from slimnets.darknet.layers import HeadSpec
from slimtrain.detector.loss import Teaching, detector_loss

CLASSES = 4
GRID = 6
STRIDE = 8
VALUES = 5 + CLASSES


def _head(scale_x_y: float = 1.0) -> HeadSpec:
    return HeadSpec(
        layer=0,
        stride=STRIDE,
        anchors=((16.0, 16.0), (200.0, 200.0)),
        classes=CLASSES,
        scale_x_y=scale_x_y,
    )


def _targets(*rows: tuple[float, ...]) -> Tensor:
    targets = torch.zeros(1, 4, 6)
    for index, row in enumerate(rows):
        targets[0, index] = torch.tensor(row)
    return targets


def _raw(objectness: float = -8.0) -> Tensor:
    raw = torch.zeros(1, 2 * VALUES, GRID, GRID)
    raw[:, [4, 4 + VALUES]] = objectness
    return raw


TARGET = (2.0, 20.0, 28.0, 16.0, 16.0, 1.0)  # cell x = 2, y = 3, offsets 0.5, 0.5


def _perfect() -> Tensor:
    raw = _raw()
    raw[0, 4, 3, 2] = 8.0
    raw[0, 5:VALUES, 3, 2] = -8.0
    raw[0, 5 + 2, 3, 2] = 8.0
    return raw


def test_a_right_prediction_costs_almost_nothing_and_a_missing_one_much() -> None:
    right = detector_loss([_perfect()], _targets(TARGET), [_head()])
    missing = detector_loss([_raw()], _targets(TARGET), [_head()])

    assert right.box.item() == pytest.approx(0, abs=1e-5)
    assert right.classes.item() < 1e-3
    assert right.objectness.item() < 0.01
    assert missing.total.item() > 20 * right.total.item()


def test_an_unsure_box_is_neither_object_nor_background() -> None:
    unsure = (*TARGET[:5], 0.2)

    as_found = detector_loss([_perfect()], _targets(unsure), [_head()])
    as_missed = detector_loss([_raw()], _targets(unsure), [_head()])

    assert as_found.objectness.item() == pytest.approx(as_missed.objectness.item(), abs=1e-3)
    assert as_found.box.item() == 0
    # Without the unsure box the same prediction is a false alarm.
    assert detector_loss([_perfect()], _targets(), [_head()]).objectness.item() > 0.1


def test_an_anchor_of_another_size_is_not_asked() -> None:
    raw = _raw().requires_grad_()

    wide = (*TARGET[:3], 24.0, 12.0, 1.0)
    total = detector_loss([raw], _targets(wide), [_head()]).total
    total.backward()  # type: ignore[no-untyped-call]

    assert raw.grad is not None
    by_anchor = raw.grad.view(2, VALUES, GRID, GRID)
    assert by_anchor[0, 2:4].abs().sum() > 0
    assert by_anchor[1, :4].abs().sum() == 0


def test_a_stretched_sigmoid_makes_the_nearest_neighbours_answer_too() -> None:
    near_left_top = (2.0, 17.0, 25.0, 16.0, 16.0, 1.0)  # offsets 0.125, 0.125 in cell 2, 3

    def asked_cells(scale_x_y: float) -> set[tuple[int, int]]:
        raw = _raw().requires_grad_()
        detector_loss([raw], _targets(near_left_top), [_head(scale_x_y)]).total.backward()  # type: ignore[no-untyped-call]
        assert raw.grad is not None
        return {(int(y), int(x)) for y, x in raw.grad[0, 5:VALUES].abs().sum(0).nonzero()}

    assert asked_cells(1.0) == {(3, 2)}
    assert asked_cells(2.0) == {(3, 2), (3, 1), (2, 2)}


def test_gradients_are_finite_for_wild_maps_and_empty_targets() -> None:
    raw = 30 * torch.randn(1, 2 * VALUES, GRID, GRID, generator=torch.Generator().manual_seed(0))
    raw.requires_grad_()

    loss = detector_loss([raw], _targets(TARGET, (0.0, 1.0, 1.0, 3.0, 60.0, 0.5)), [_head(2.0)])
    loss.total.backward()  # type: ignore[no-untyped-call]

    assert raw.grad is not None
    assert raw.grad.isfinite().all()


def test_a_prediction_that_overlaps_a_box_is_no_background() -> None:
    raw = _raw()
    raw[0, 4, 3, 2] = 8.0
    raw[0, 4, 3, 3] = 8.0  # the cell beside it, with nearly the same box
    raw[0, 0, 3, 3] = -4.0

    def objectness(ignore_thresh: float) -> float:
        head = replace(_head(), ignore_thresh=ignore_thresh)
        return detector_loss([raw], _targets(TARGET), [head]).objectness.item()

    assert objectness(0.5) < 0.01 < objectness(0.99)


def test_the_anchor_of_the_likest_shape_answers_whatever_the_threshold() -> None:
    raw = _raw().requires_grad_()
    head = replace(_head(), iou_thresh=0.99)

    detector_loss([raw], _targets((*TARGET[:3], 90.0, 60.0, 1.0)), [head]).total.backward()  # type: ignore[no-untyped-call]

    assert raw.grad is not None
    by_anchor = raw.grad.view(2, VALUES, GRID, GRID)
    assert by_anchor[0, :4].abs().sum() == 0
    assert by_anchor[1, :4].abs().sum() > 0


@pytest.mark.parametrize("is_absent", [True, False])
def test_the_teacher_is_asked_of_classes_that_nobody_looked_for(is_absent: bool) -> None:
    raw = _perfect()  # both see the box, which nobody drew
    absent = torch.zeros(1, GRID, GRID, CLASSES, dtype=torch.bool)
    absent[..., 2] = is_absent
    teaching = Teaching([raw], [_head()], lambda h, w: absent, 1.0)

    loss = detector_loss([raw], _targets(), [_head()], teaching)

    if is_absent:
        assert loss.objectness.item() == pytest.approx(
            detector_loss([raw], _targets(), [_head()]).objectness.item(), rel=0.05
        )
        assert loss.taught.item() == 0
    else:
        assert loss.objectness.item() < 0.02
        assert 0 < loss.taught.item() < 0.01
        missed = detector_loss([_raw()], _targets(), [_head()], teaching)
        assert missed.taught.item() > 2 * loss.taught.item()
        assert missed.objectness.item() > 0.1


def test_a_new_head_is_not_background_where_the_teacher_sees_what_nobody_looked_for() -> None:
    raw = torch.zeros(1, VALUES, 2 * GRID, 2 * GRID)
    raw[0, 4] = -8.0
    raw[0, 4, 6, 4] = 8.0  # in the teacher's cell 3, 2
    new = replace(_head(), stride=STRIDE // 2, anchors=((8.0, 8.0),))
    nothing_known = torch.zeros(1, GRID, GRID, CLASSES, dtype=torch.bool)
    teaching = Teaching([_perfect()], [_head()], lambda h, w: nothing_known, 1.0)

    taught = detector_loss([raw], _targets(), [new], teaching)

    assert taught.objectness.item() < 1e-3
    assert detector_loss([raw], _targets(), [new]).objectness.item() > 0.04


def test_a_head_of_probabilities_learns_as_one_of_logits() -> None:
    """In a square anchor of the box's own side: (2 * 0.5)^2 = exp(0)."""
    raw = _perfect()

    logits = detector_loss([raw], _targets(TARGET), [_head()])
    probabilities = detector_loss(
        [raw.sigmoid()], _targets(TARGET), [replace(_head(), new_coords=True)]
    )

    torch.testing.assert_close(probabilities.total, logits.total)
