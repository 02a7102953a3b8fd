"""Looking at a frame through the API: which calls, and what is made of the answers."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from slimcli.demo.review import view_frame
from slimcli.exits import UnavailableError
from slimcodec.pixels import MAX_PSNR_DB, psnr_db
from support.models.toy_artifact import make_image

IMAGE = make_image(32, 48)
FRAME = "/api/v1/frames/demo:0000000000000001:7"


class FakeApi(ThreadingHTTPServer):
    """One frame, whose picture is grey until its enhancement has come, and a newer one."""

    def __init__(self, *, can_enhance: bool = True, refusal: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.can_enhance = can_enhance
        self.refusal = refusal
        self.is_enhanced = False
        self.polls = 0
        self.calls: list[str] = []

    def frame(self) -> dict[str, object]:
        return {
            "base_bytes": 100,
            "enhancement_bytes": 50 if self.is_enhanced else 0,
            "can_enhance": self.can_enhance,
        }

    def request_state(self) -> dict[str, object]:
        self.polls += 1
        if self.polls < 3:
            state = ("pending", "sent")[self.polls - 1]
        else:
            state = "refused" if self.refusal else "done"
            self.is_enhanced = not self.refusal
        return {"state": state, "detail": self.refusal, "url": "/api/v1/refetches/1"}


class _Handler(BaseHTTPRequestHandler):
    server: FakeApi

    def do_GET(self) -> None:
        self.server.calls.append(f"GET {self.path}")
        if self.path == "/api/v1/cameras/demo":
            self._json({"last_frame_id": "demo:0000000000000001:9"})
        elif self.path == f"{FRAME}/image":
            file = io.BytesIO()
            seen = IMAGE if self.server.is_enhanced else np.full_like(IMAGE, 128)
            Image.fromarray(seen).save(file, "PNG")
            self._answer(200, file.getvalue())
        elif self.path.startswith("/api/v1/refetches/"):
            self._json(self.server.request_state())
        elif self.path == FRAME:
            self._json(self.server.frame())
        else:
            self._json({"detail": "no such frame"}, status=404)

    def do_POST(self) -> None:
        self.server.calls.append(f"POST {self.path}")
        self._json(self.server.request_state(), status=202)

    def _json(self, value: object, status: int = 200) -> None:
        self._answer(status, json.dumps(value).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Tests print nothing."""


@pytest.fixture
def api(request: pytest.FixtureRequest) -> Iterator[FakeApi]:
    server = FakeApi(**getattr(request, "param", {}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def address(api: FakeApi) -> str:
    return f"http://127.0.0.1:{api.server_port}"


def test_a_refetch_makes_the_picture_better(api: FakeApi) -> None:
    viewed = view_frame(address(api), "demo", 7, IMAGE)

    assert viewed.before_db == pytest.approx(psnr_db(IMAGE, np.full_like(IMAGE, 128)))
    assert viewed.after_db == MAX_PSNR_DB
    assert (viewed.base_bytes, viewed.enhancement_bytes) == (100, 50)
    assert f"POST {FRAME}/refetch" in api.calls
    assert api.polls == 3


@pytest.mark.parametrize("api", [{"refusal": "it has left the ring"}], indirect=True)
def test_a_refusal_is_told(api: FakeApi) -> None:
    viewed = view_frame(address(api), "demo", 7, IMAGE)

    assert viewed.enhancement_bytes == 0
    assert viewed.after_db == viewed.before_db
    assert viewed.detail == "it has left the ring"


@pytest.mark.parametrize("api", [{"can_enhance": False}], indirect=True)
def test_a_whole_frame_is_not_asked_for_more(api: FakeApi) -> None:
    viewed = view_frame(address(api), "demo", 7, IMAGE)

    assert viewed.detail == "it had all channels already"
    assert not any(call.startswith("POST") for call in api.calls)


def test_a_frame_that_is_not_there_is_an_error(api: FakeApi) -> None:
    with pytest.raises(UnavailableError, match="demo:0000000000000001:8.* answers 404"):
        view_frame(address(api), "demo", 8, IMAGE)


def test_an_api_that_is_away_is_an_error() -> None:
    with pytest.raises(UnavailableError, match=r"http://127\.0\.0\.1:9"):
        view_frame("http://127.0.0.1:9", "demo", 7, IMAGE)
