"""`/cameras`: who sends, and how it fares."""

from fastapi import APIRouter, Response

from slimcloud.review.context import ApiContext, Context, problems
from slimcloud.review.errors import CameraNotFoundError
from slimcloud.review.routes.gaps import gap_views
from slimcloud.review.schemas import CameraList, CameraView
from slimcloud.review.views import API_PREFIX, camera_view
from slimcloud.store.records import CameraState
from slimcloud.wall_clock import unix_us

MAX_GAPS = 10  # of one camera; `/timeline` has more

router = APIRouter(prefix=API_PREFIX, tags=["cameras"])


@router.get("/cameras", responses=problems(503))
async def list_cameras(response: Response, context: Context) -> CameraList:
    """Every camera ever seen, by name."""
    response.headers["Cache-Control"] = "no-store"
    cameras = await context.store.cameras.list()
    return CameraList(cameras=[await _view(context, camera) for camera in cameras])


@router.get("/cameras/{camera_id}", responses=problems(404, 503))
async def get_camera(camera_id: str, response: Response, context: Context) -> CameraView:
    """One camera."""
    camera = await context.store.cameras.get(camera_id)
    if camera is None:
        raise CameraNotFoundError(camera_id)
    response.headers["Cache-Control"] = "no-store"
    return await _view(context, camera)


async def _view(context: ApiContext, camera: CameraState) -> CameraView:
    gaps = await gap_views(context.store, camera.camera_id, None, None, MAX_GAPS)
    return camera_view(camera, gaps, now_unix_us=unix_us())
