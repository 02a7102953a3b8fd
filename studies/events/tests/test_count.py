"""The study counts what it says it counts."""

from __future__ import annotations

from pathlib import Path

from slimcodec.detection import Detection
from studies.events.count import Video, count


def test_events_objects_and_delays_of_a_video_that_is_played_again(tmp_path: Path) -> None:
    path = tmp_path / "walk.avi"
    path.with_suffix(".boxes.txt").write_text(
        "".join(f"{n},1,{20 + 10 * n},100,30,80,1,-1,-1,-1\n" for n in range(1, 25))
    )
    video = Video(path, rate=4.0, own_rate=4.0, image_hw=(240, 640), numbers=list(range(1, 81)))
    found = {
        n: [Detection((20.0 + 10 * n, 100.0, 50.0 + 10 * n, 180.0), 0.9, 0, "person")]
        for n in range(1, 25)
    }

    once, twice = count(video, found, 20), count(video, found, 40)

    assert (once.events, once.objects, once.labels) == (1, 1, "person")
    assert (once.seconds_to_event, once.of_true_objects) == (0.5, 1.0)
    assert (twice.events, twice.objects, twice.seconds) == (2, 2, 40)
