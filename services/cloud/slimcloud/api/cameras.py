"""`/cameras`: who sends."""

from fastapi import APIRouter, Response

from slimcloud.api.context import Context, problems
from slimcloud.api.schemas import CameraList
from slimcloud.api.views import API_PREFIX, camera_view

__all__ = ["router"]

router = APIRouter(prefix=API_PREFIX, tags=["cameras"])


@router.get("/cameras", responses=problems(503))
async def list_cameras(response: Response, context: Context) -> CameraList:
    """Every camera ever seen, by name."""
    response.headers["Cache-Control"] = "no-store"
    cameras = await context.store.cameras.list()
    return CameraList(cameras=[camera_view(camera) for camera in cameras])
