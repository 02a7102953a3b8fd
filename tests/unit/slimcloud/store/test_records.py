from __future__ import annotations

import pytest
from pydantic import ValidationError

from slimcloud.store.records import StoredFrame
from support.cloud.frames import make_frame


def test_frame_is_read_as_it_was_written() -> None:
    frame = make_frame(1, lane="backfill").record.model_copy(
        update={"presence": 0.25, "reason": "", "link_bytes_per_second": 7}
    )
    written = frame.written()
    stored = dict(zip(written[::2], written[1::2], strict=True))

    read = StoredFrame.read(frame.frame_id, [stored.get(name) for name in StoredFrame.names()])

    assert read == frame
    assert "comments_count" not in stored


def test_frame_that_is_not_there_is_none() -> None:
    values = [None] * len(StoredFrame.names())

    assert StoredFrame.read(make_frame(1).frame_id, values) is None


def test_frame_outside_its_bounds_is_refused() -> None:
    frame = make_frame(1).record

    with pytest.raises(ValidationError, match="image_height"):
        StoredFrame.model_validate({**dict(frame), "image_height": 0})


@pytest.mark.parametrize(
    ("fields", "reaches"),
    [
        ({"level": 3, "quality": 4}, True),
        ({"level": 3, "quality": 2}, False),
        ({"level": 1, "quality": 5}, False),
        ({"level": 1, "enhancement_level": 3, "enhancement_bytes": 9}, False),
        (
            {
                "level": 1,
                "enhancement_level": 3,
                "enhancement_quality": 4.5,
                "enhancement_bytes": 9,
                "reference_sequence": 1,
            },
            True,
        ),
        ({"level": 3, "quality": 5, "reference_sequence": 1}, False),  # what did not change
    ],
)
def test_what_a_frame_reaches_is_what_its_camera_sent(
    fields: dict[str, int], reaches: bool
) -> None:
    record = make_frame(2).record.model_copy(update=fields)

    assert record.reaches(3, 4.0) is reaches
