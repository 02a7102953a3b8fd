"""Cameras on one encoder thread, in turns alone and with max-min fair shares: simulated.

    python -m bench.encoder_shares [--cameras 8] [--fps 5] [--byte-price 0.1] [--seconds 60]

Each camera has the real controller on a link that limits nothing, and pictures of 768 x 576 ten
times a second; its frames take 8, 12, 28 and 43 ms at levels 0 to 3, or so many times as long.
Prints Markdown; the first five seconds are not counted.
"""

from __future__ import annotations

import argparse
import heapq
from collections import Counter
from dataclasses import dataclass, field

from slimcodec.model.find import DEFAULT_MODEL, find_model
from slimcodec.model.load import load_codec_artifact
from slimcontrol.controller import Controller, NextKind, Offer
from slimcontrol.link import LinkView
from slimcontrol.point import OperatingPoint
from slimcontrol.profile import build_operating_points
from slimedge.encode.shared import FairShares

ENCODE_SECONDS = (0.008, 0.012, 0.028, 0.043)  # two cores of an AMD EPYC, by level
PIXELS = 768 * 576
SOURCE_FPS = 10
INTER_SHARE = 0.2  # of an intra frame's bytes
LINK = LinkView(0, 0.0, 0, 2**20, 2**22)
DEADLINE_SECONDS, SETTLE_SECONDS, LOOK_SECONDS = 1.0, 5.0, 0.02


@dataclass
class Outcome:
    """What came of the frames of all cameras."""

    sent: list[int]  # by camera
    latencies: list[float] = field(default_factory=list)  # capture to encoded, s
    utility: float = 0.0  # sum
    levels: Counter[int] = field(default_factory=Counter)


def simulate(
    points: tuple[OperatingPoint, ...], args: argparse.Namespace, slower: float, *, is_fair: bool
) -> Outcome:
    """One run; cameras ask at the same moments."""
    outcome, fair = Outcome([0] * args.cameras), FairShares()
    controllers = [_controller(points, args, slower) for _ in range(args.cameras)]
    free, last, due = 0.0, [-1] * args.cameras, [0.0] * args.cameras
    asking = [(camera * 1e-4, camera) for camera in range(args.cameras)]
    while asking[0][0] < args.seconds:
        now, camera = heapq.heappop(asking)
        controller, newest = controllers[camera], int(now * SOURCE_FPS + 1e-9)
        if newest == last[camera]:
            heapq.heappush(asking, ((newest + 1) / SOURCE_FPS + camera * 1e-4, camera))
            continue
        age = now - newest / SOURCE_FPS
        point = controller.decide(Offer(now, age, PIXELS, LINK, kind=NextKind.INTER)).point
        if point is None:
            heapq.heappush(asking, (now + LOOK_SECONDS, camera))
            continue
        last[camera], seconds = newest, slower * ENCODE_SECONDS[point.level]
        free = max(free, now) + seconds
        size = round(INTER_SHARE * point.bpp * PIXELS / 8)
        controller.on_encoded(point.level, point.quality, PIXELS, size, seconds, is_inter=True)
        if is_fair:
            share = fair.of(str(camera), controller.widest_seconds(PIXELS), free)
            controller.on_encoder_share(share)
        if now > SETTLE_SECONDS:
            outcome.sent[camera] += 1
            outcome.latencies.append(free - newest / SOURCE_FPS)
            outcome.utility += point.utility
            outcome.levels[point.level] += 1
        due[camera] = max(due[camera] + 1 / args.fps, now)
        heapq.heappush(asking, (max(free, due[camera]), camera))
    return outcome


def _controller(
    points: tuple[OperatingPoint, ...], args: argparse.Namespace, slower: float
) -> Controller:
    """One that knows its encoder, and a link of 800 Mbit/s."""
    controller = Controller(
        points,
        dict.fromkeys(range(len(ENCODE_SECONDS)), 1e-8),
        deadline_seconds=DEADLINE_SECONDS,
        frame_seconds=1 / args.fps,
        byte_price=args.byte_price,
    )
    for _ in range(30):
        controller.rate.add_alone(10**6, 0.01)
    for level, seconds in enumerate(ENCODE_SECONDS):
        controller.on_encoded(level, 2, PIXELS, 10_000, slower * seconds)
    return controller


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cameras", type=int, default=8)
    parser.add_argument("--fps", type=float, default=5.0)
    parser.add_argument("--byte-price", type=float, default=0.1)
    parser.add_argument("--seconds", type=float, default=60.0)
    args = parser.parse_args()
    codec = load_codec_artifact(find_model("codec", DEFAULT_MODEL))
    points = build_operating_points(codec.levels, codec.manifest.qualities, codec.profile)
    print("| encoder slower by | | frames/s, each | latency, s | late | utility/s, each | levels |")
    print("|---|---|---|---|---|---|---|")
    for slower in (1.0, 2.0, 5.0, 10.0):
        for is_fair in (False, True):
            seen = simulate(points, args, slower, is_fair=is_fair)
            seconds, frames = args.seconds - SETTLE_SECONDS, len(seen.latencies)
            late = sum(latency > DEADLINE_SECONDS for latency in seen.latencies) / frames
            levels = dict(sorted(seen.levels.items()))
            print(
                f"| {slower:g} | {'shares' if is_fair else 'turns'} | "
                f"{min(seen.sent) / seconds:.2f}-{max(seen.sent) / seconds:.2f} | "
                f"{sum(seen.latencies) / frames:.3f} | {late:.0%} | "
                f"{seen.utility / seconds / args.cameras:.2f} | {levels} |"
            )


if __name__ == "__main__":
    main()
