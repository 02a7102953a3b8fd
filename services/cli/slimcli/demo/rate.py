"""How many pictures a second this machine bears.

An edge and a cloud share it. Where one picture keeps the processors for longer than a few pictures'
time, results come later and later: the demo then takes fewer pictures and says so.
"""

import statistics
from collections.abc import Sequence

from slimcli.demo.tally import SeenFrame

RATES = (10.0, 5.0, 2.0, 1.0)  # pictures a second, tried in this order
_JUDGED_FRAMES = 4  # the newest ones: one that came late by chance says nothing
_MOST_PICTURES = 2.5  # pictures' time from the encoder to the boxes; a queue is two of them
_MOST_OF_DEADLINE = 0.5  # the rest is for the link
_MOST_BUSY = 0.8  # of a picture's time may be spent on its work


def slower_rate(seen: Sequence[SeenFrame], rate: float, deadline_seconds: float) -> float | None:
    """The rate to go on with; None while the machine keeps up, whatever the link does.

    Args:
        seen: Frames that came back, newest last.
        rate: Pictures a second until now.
        deadline_seconds: Capture to detection.
    """
    slower = [one for one in RATES if one < rate]
    if len(seen) < _JUDGED_FRAMES or not slower:
        return None
    took = statistics.median(frame.machine_seconds for frame in _newest(seen))
    if took <= min(_MOST_PICTURES / rate, _MOST_OF_DEADLINE * deadline_seconds):
        return None
    work = work_seconds(seen)
    return next((one for one in slower if one * work <= _MOST_BUSY), slower[-1])


def work_seconds(seen: Sequence[SeenFrame]) -> float:
    """What the machine works on one picture, at the edge and in the cloud."""
    return statistics.median(frame.work_seconds for frame in _newest(seen))


def _newest(seen: Sequence[SeenFrame]) -> list[SeenFrame]:
    return list(seen)[-_JUDGED_FRAMES:]
