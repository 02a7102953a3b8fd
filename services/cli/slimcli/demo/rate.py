"""How many pictures a second this machine bears.

An edge and a cloud share it. Where one picture keeps the processors for longer than a few pictures'
time, results come later and later: the demo then takes fewer pictures and says so.
"""

import statistics
from collections.abc import Sequence

from slimcli.demo.tally import FrameRow

RATES = (10.0, 5.0, 2.0, 1.0)  # pictures a second, tried in this order
_JUDGED_FRAMES = 4  # the newest ones: one that came late by chance says nothing
_MOST_PICTURES = 2.5  # pictures' time from the encoder to the boxes; a queue is two of them
_MOST_OF_DEADLINE = 0.5  # the rest is for the link
_MOST_BUSY = 0.8  # of a picture's time may be spent on its work


def slower_rate(detected: Sequence[FrameRow], rate: float, deadline_seconds: float) -> float | None:
    """The rate to go on with; None while the machine keeps up, whatever the link does.

    Args:
        detected: Frames that came back, newest last.
        rate: Pictures a second until now.
        deadline_seconds: Capture to detection.
    """
    slower = [one for one in RATES if one < rate]
    newest = list(detected)[-_JUDGED_FRAMES:]
    if len(newest) < _JUDGED_FRAMES or not slower:
        return None
    took = statistics.median(row.machine_seconds or 0.0 for row in newest)
    if took <= min(_MOST_PICTURES / rate, _MOST_OF_DEADLINE * deadline_seconds):
        return None
    work = work_seconds(detected)
    return next((one for one in slower if one * work <= _MOST_BUSY), slower[-1])


def work_seconds(detected: Sequence[FrameRow]) -> float:
    """What the machine works on one picture, at the edge and in the cloud."""
    newest = list(detected)[-_JUDGED_FRAMES:]
    return statistics.median(row.work_seconds or 0.0 for row in newest)
