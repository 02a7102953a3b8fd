"""`/frames/{id}/reviews`, `/reviews`: who looked at what, marks and comments."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from slimcloud.errors import FrameGoneError
from slimcloud.frame_id import CAMERA_ID_PATTERN, FrameId
from slimcloud.review.context import Caller, Context, problems
from slimcloud.review.schemas import ReviewList, ReviewView
from slimcloud.review.views import API_PREFIX, review_view
from slimcloud.store.records import ReviewMark
from slimcloud.store.reviews import ReviewFilter, ReviewKind

MAX_COMMENT_CHARACTERS = 2000
MAX_LIMIT = 200  # records a page

router = APIRouter(prefix=API_PREFIX, tags=["reviews"])


class NewReview(BaseModel):
    """What you say of a frame: a mark, a comment, or both."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "anyOf": [
                {"required": ["mark"], "properties": {"mark": {"type": "string"}}},
                {"required": ["comment"], "properties": {"comment": {"type": "string"}}},
            ]
        },
    )

    mark: ReviewMark | None = Field(
        None, description="replaces the frame's mark; open takes it back, null leaves it"
    )
    comment: (
        Annotated[
            str,
            StringConstraints(
                strip_whitespace=True, max_length=MAX_COMMENT_CHARACTERS, pattern=r"\S"
            ),
        ]
        | None
    ) = Field(None, description="for people; shown as text, never as markup")

    @model_validator(mode="after")
    def _says_something(self) -> "NewReview":
        if self.mark is None and self.comment is None:
            raise ValueError("neither a mark nor a comment; give one")
        return self


class ReviewQuery(BaseModel):
    """Which records to list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reviewer: str | None = Field(None, min_length=1, max_length=200, description="of this person")
    kind: ReviewKind | None = Field(None, description="of this kind")
    camera: str | None = Field(
        None, pattern=f"^{CAMERA_ID_PATTERN}$", description="of frames of this camera"
    )
    limit: int = Field(50, ge=1, le=MAX_LIMIT, description="records a page, at most")
    cursor: str | None = Field(None, max_length=400, description="`next_cursor` of the page before")


@router.post(
    "/frames/{frame_id}/reviews", status_code=201, responses=problems(400, 404, 410, 422, 503)
)
async def add_review(
    frame_id: str, review: NewReview, response: Response, context: Context, caller: Caller
) -> ReviewView:
    """Mark a frame, comment on it, or both; `Location` leads to the record."""
    name = FrameId.parse(frame_id)
    await context.store.get_frame(name)
    reviews = context.store.reviews
    review_id = await reviews.note(name, caller, mark=review.mark, comment=review.comment or "")
    if review_id is None:  # retention was faster than we
        raise FrameGoneError(name)
    view = review_view(await reviews.get(review_id))
    response.headers["Location"] = view.url
    response.headers["Cache-Control"] = "no-store"
    return view


@router.get("/frames/{frame_id}/reviews", responses=problems(404, 410, 503))
async def list_reviews_of_frame(frame_id: str, response: Response, context: Context) -> ReviewList:
    """What people did with one frame, oldest first; about the last 500 records."""
    name = FrameId.parse(frame_id)
    await context.store.get_frame(name)
    records = await context.store.reviews.of_frame(name)
    response.headers["Cache-Control"] = "no-store"
    return ReviewList(reviews=[review_view(record) for record in records], next_cursor=None)


@router.get("/reviews", responses=problems(400, 422, 503))
async def list_reviews(
    query: Annotated[ReviewQuery, Query()], request: Request, response: Response, context: Context
) -> ReviewList:
    """What people did with any frame, newest first: about the last 50,000 records, also of frames
    that retention has removed. `Link: rel="next"` leads to the next page.
    """
    wanted = ReviewFilter(query.reviewer, query.kind, query.camera)
    page = await context.store.reviews.list(wanted, limit=query.limit, cursor=query.cursor)
    if page.next_cursor is not None:
        conditions = [(k, v) for k, v in request.query_params.multi_items() if k != "cursor"]
        link = urlencode([*conditions, ("cursor", page.next_cursor)])
        response.headers["Link"] = f'<{request.url.path}?{link}>; rel="next"'
    response.headers["Cache-Control"] = "no-store"
    return ReviewList(
        reviews=[review_view(record) for record in page.records], next_cursor=page.next_cursor
    )


@router.get("/reviews/{review_id}", responses=problems(404, 503))
async def get_review(review_id: str, response: Response, context: Context) -> ReviewView:
    """One record."""
    response.headers["Cache-Control"] = "no-store"
    return review_view(await context.store.reviews.get(review_id))
