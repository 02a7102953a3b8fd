"""One picture on demand through the review API, before and after a refetch, against the camera.

GET  /api/v1/cameras/{camera}           its newest frame, of the start that goes on
GET  /api/v1/frames/{id}/image          the picture from what the machine needed
POST /api/v1/frames/{id}/refetch        202: the camera is asked for the rest
GET  /api/v1/refetches/{request}        until it is done
GET  /api/v1/frames/{id}/image          the same picture, better
"""

import json
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimcli.web import ask
from slimcloud.frame_id import FrameId
from slimcodec.image import load_image
from slimcodec.pixels import psnr_db

REQUEST_SECONDS = 20.0  # a first picture may wait for its graph to be compiled
REFETCH_SECONDS = 20.0
_POLL_SECONDS = 0.1


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
        api: Address of the review API, `http://host:port`.
        camera: The camera's name.
        sequence: Of the frame, in the camera's newest start.
        image: What the camera saw, uint8 (H, W, 3) RGB.

    Raises:
        UnavailableError: the API does not answer as it should.
    """
    newest = FrameId.parse(_get_json(api, f"/api/v1/cameras/{camera}")["last_frame_id"])
    url = f"/api/v1/frames/{replace(newest, sequence=sequence)}"
    before_db = psnr_db(image, _picture(api, url))
    can_enhance = _get_json(api, url)["can_enhance"]
    detail = _refetch(api, url) if can_enhance else "it had all channels already"
    frame = _get_json(api, url)
    return ViewedFrame(
        base_bytes=frame["base_bytes"],
        before_db=before_db,
        enhancement_bytes=frame["enhancement_bytes"],
        after_db=psnr_db(image, _picture(api, url)),
        detail=detail,
    )


def open_newest(api: str, camera: str) -> None:
    """Have the newest frame decoded and throw the picture away: the first one compiles the graphs.

    Raises:
        UnavailableError: the API does not answer as it should.
    """
    _picture(api, f"/api/v1/frames/{_get_json(api, f'/api/v1/cameras/{camera}')['last_frame_id']}")


def _picture(api: str, url: str) -> NDArray[np.uint8]:
    return load_image(ask(f"{api}{url}/image", REQUEST_SECONDS, accept="image/png"))


def _refetch(api: str, url: str) -> str:
    """Ask for the enhancement and wait for it; why it did not come, or nothing."""
    request = json.loads(ask(f"{api}{url}/refetch", REQUEST_SECONDS, method="POST"))
    give_up = time.monotonic() + REFETCH_SECONDS
    while request["state"] in ("pending", "sent"):
        if time.monotonic() > give_up:
            return f"no enhancement within {REFETCH_SECONDS:.0f} s"
        time.sleep(_POLL_SECONDS)
        request = _get_json(api, request["url"])
    return str(request["detail"])


def _get_json(api: str, path: str) -> dict[str, Any]:
    return dict(json.loads(ask(f"{api}{path}", REQUEST_SECONDS)))
