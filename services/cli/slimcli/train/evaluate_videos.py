"""The half of `slimwire evaluate` that plays videos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from slimcli.exits import Failures
from slimcli.frames import TimedImage, read_frames
from slimcli.streams import say
from slimtrain.evaluation.evaluate_videos import VideoPlan, evaluate_videos
from slimtrain.evaluation.video import find_labels


def evaluate_on_videos(
    videos: Sequence[Path], labels: Sequence[Path], plan: VideoPlan, out: Path
) -> None:
    """Measure and write the rows; a video's fault ends that video only."""
    failures = Failures()
    evaluate_videos(find_labels(videos, labels), plan, _read, out, failures.kept)
    say(f"The rows are in {out / 'video.csv'}")
    failures.end()


def _read(video: Path, fps: float) -> Iterator[TimedImage]:
    return read_frames(video, fps, lambda _: None)  # what is damaged is only passed over
