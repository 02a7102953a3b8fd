"""A camera on the network, lost and found again: MPEG-TS over UDP on loopback, through PyAV."""

from __future__ import annotations

import queue
import socket
import threading
from random import Random

import av
import numpy as np

from slimedge.backoff import FullJitter
from slimedge.capture.camera import Camera, CameraEnded, CameraMessage
from slimedge.capture.video import Video
from slimedge.capture.wall_clock import WallClock
from slimedge.errors import CameraError
from slimedge.event import CameraChanged, CameraState
from slimedge.frame import CapturedFrame

HW = (48, 64)
FPS = 25


class SendingCamera:
    """Sends a moving picture to a port until it is stopped."""

    def __init__(self, port: int) -> None:
        self._address = f"udp://127.0.0.1:{port}?pkt_size=1316"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> SendingCamera:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _send(self) -> None:
        rng = np.random.default_rng(1)
        with av.open(self._address, "w", format="mpegts") as container:
            stream = container.add_stream("mpeg4", rate=FPS)
            stream.height, stream.width = HW
            stream.pix_fmt = "yuv420p"
            stream.gop_size = 5
            while not self._stop.wait(1 / FPS):
                image = rng.integers(0, 255, (*HW, 3), dtype=np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))


def test_a_network_camera_is_captured_again_after_it_was_away() -> None:
    port = _free_udp_port()
    frames: queue.Queue[CapturedFrame] = queue.Queue()
    states: queue.Queue[CameraState] = queue.Queue()
    ends: queue.Queue[CameraError | None] = queue.Queue()

    def post(message: CameraMessage) -> None:
        match message:
            case CapturedFrame():
                frames.put(message)
            case CameraChanged():
                states.put(message.state)
            case CameraEnded():
                ends.put(message.failure)

    camera = Camera(
        Video(f"udp://127.0.0.1:{port}", is_live=True, timeout_seconds=0.5),
        post,
        loop=False,
        backoff=FullJitter(0.01, 0.05, Random(1)),
        clock=WallClock(),
    )

    camera.start()
    with SendingCamera(port):
        first = [frames.get(timeout=60) for _ in range(3)]
    _wait_for(states, CameraState.LOST)
    with SendingCamera(port):
        _wait_for(states, CameraState.UP)
        second = frames.get(timeout=60)
        camera.stop()
        ended = camera.join(60)

    assert [frame.image_hw for frame in first] == [HW] * 3
    assert second.sequence > first[-1].sequence
    assert ended
    assert ends.get(timeout=60) is None


def _wait_for(states: queue.Queue[CameraState], wanted: CameraState) -> None:
    while states.get(timeout=60) is not wanted:
        pass


def _free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
