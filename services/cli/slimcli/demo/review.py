"""One picture on demand through the review API, before and after a refetch, against the camera.

GET  /api/v1/frames/{id}/image          the picture from what the machine needed
POST /api/v1/frames/{id}/refetch        202: the camera is asked for the rest
GET  /api/v1/refetches/{request}        until it is done
GET  /api/v1/frames/{id}/image          the same picture, better
"""

import http.client
import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimcli.exits import UnavailableError
from slimcodec.image import load_image
from slimcodec.psnr import psnr_db

REQUEST_SECONDS = 20.0  # a first picture may wait for its graph to be compiled
REFETCH_SECONDS = 20.0
POLL_SECONDS = 0.1
_UNDER_WAY = {"pending", "sent"}


@dataclass(frozen=True)
class ViewedFrame:
    """A frame that somebody looked at; PSNR in dB against the camera's frame."""

    base_bytes: int
    before_db: float
    enhancement_bytes: int  # 0: it had all channels already, or the camera refused
    after_db: float
    detail: str  # why there was no enhancement; else empty


def view_frame(api: str, camera: str, sequence: int, image: NDArray[np.uint8]) -> ViewedFrame:
    """Look at one frame, have it refetched, and look again.

    Args:
        api: address of the review API, `http://host:port`.
        camera: the camera's name.
        sequence: of the frame, in the camera's newest epoch.
        image: what the camera saw, uint8 (H, W, 3) RGB.

    Raises:
        UnavailableError: the API does not answer as it should.
    """
    frame = _find(api, camera, sequence)
    before_db = psnr_db(image, _picture(api, frame))
    detail = _refetch(api, frame) if frame["can_enhance"] else "it had all channels already"
    frame = _get_json(api, frame["url"])
    return ViewedFrame(
        base_bytes=frame["base_bytes"],
        before_db=before_db,
        enhancement_bytes=frame["enhancement_bytes"],
        after_db=psnr_db(image, _picture(api, frame)),
        detail=detail,
    )


def open_frame(api: str, camera: str, sequence: int) -> None:
    """Have one frame decoded and throw the picture away: the first one compiles the graphs.

    Raises:
        UnavailableError: the API does not answer as it should.
    """
    _request(api, _find(api, camera, sequence)["image_url"], accept="image/png")


def _find(api: str, camera: str, sequence: int) -> dict[str, Any]:
    cursor = ""
    while True:
        page = _get_json(api, f"/api/v1/frames?camera={camera}&limit=100{cursor}")
        for frame in page["frames"]:
            if frame["sequence"] == sequence:
                return dict(frame)
        if page["next_cursor"] is None:
            raise UnavailableError(f"{api} does not list frame {sequence} of camera {camera}")
        cursor = f"&cursor={page['next_cursor']}"


def _picture(api: str, frame: dict[str, Any]) -> NDArray[np.uint8]:
    return load_image(_request(api, frame["image_url"], accept="image/png"))


def _refetch(api: str, frame: dict[str, Any]) -> str:
    """Ask for the enhancement and wait for it; why it did not come, or nothing."""
    request = json.loads(_request(api, f"{frame['url']}/refetch", method="POST"))
    give_up = time.monotonic() + REFETCH_SECONDS
    while request["state"] in _UNDER_WAY:
        if time.monotonic() > give_up:
            return f"no enhancement within {REFETCH_SECONDS:.0f} s"
        time.sleep(POLL_SECONDS)
        request = _get_json(api, request["url"])
    return str(request["detail"])


def _get_json(api: str, path: str) -> dict[str, Any]:
    return dict(json.loads(_request(api, path)))


def _request(
    api: str, path: str, *, method: str = "GET", accept: str = "application/json"
) -> bytes:
    request = urllib.request.Request(api + path, method=method, headers={"Accept": accept})
    try:
        straight = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with straight.open(request, timeout=REQUEST_SECONDS) as response:
            return bytes(response.read())
    except urllib.error.HTTPError as exc:
        detail = exc.read(500).decode("utf-8", "replace")
        raise UnavailableError(f"{method} {api}{path}: {exc.code} {detail}") from exc
    except (OSError, http.client.HTTPException) as exc:
        raise UnavailableError(f"{method} {api}{path}: {exc}") from exc
