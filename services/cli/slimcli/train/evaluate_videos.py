"""The half of `slimwire evaluate` that plays videos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from slimcli.exits import Failures
from slimcli.streams import say
from slimedge.capture.video import Video
from slimtrain.evaluation.evaluate_videos import VideoPlan, evaluate_videos
from slimtrain.evaluation.video import TimedImage, find_labels
from slimtrain.evaluation.video_summary import format_medians
from slimtrain.reporting.video_plots import plot_videos


def evaluate_on_videos(
    videos: Sequence[Path], labels: Sequence[Path], plan: VideoPlan, out: Path
) -> None:
    """Measure, write tables and plots, tell the medians; a video's fault ends that video only."""
    failures = Failures()
    beside = find_labels(videos, labels)
    results, ratios = evaluate_videos(beside, plan, read_video, out, failures.kept)
    plot_videos(results, out)
    say(format_medians(ratios))
    say(f"\nThe rows are in {out / 'video.csv'}")
    failures.end()


def read_video(video: Path) -> Iterator[TimedImage]:
    """The frames of a video; those that are damaged are passed over, and counted."""
    damaged: list[str] = []
    for index, picture in enumerate(Video(str(video)).pictures(damaged.append)):
        number = 1 + index + len(damaged)
        yield TimedImage(number, picture.due_seconds or 0.0, picture.image)
