"""`/frames/{id}/reviews`, `/reviews`: who looked at what, marks and comments."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from slimcloud.errors import FrameGoneError
from slimcloud.review.errors import problems
from slimcloud.review.resource import (
    API_PREFIX,
    BaseView,
    Caller,
    CameraId,
    Context,
    Cursor,
    Frame,
    FrameUrl,
    QueryModel,
    Text,
    Time,
    link_next,
    url_of,
)
from slimcloud.store.records import ReviewMark
from slimcloud.store.reviews import ReviewFilter, ReviewKind

MAX_COMMENT_CHARACTERS = 2000
MAX_LIMIT = 200  # records a page

router = APIRouter(prefix=API_PREFIX, tags=["reviews"])

_Comment = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=MAX_COMMENT_CHARACTERS, pattern=r"\S"),
]


class NewReview(BaseModel):
    """What you say of a frame: a mark, a comment, or both."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        json_schema_extra={
            "anyOf": [
                {"required": ["mark"], "properties": {"mark": {"type": "string"}}},
                {"required": ["comment"], "properties": {"comment": {"type": "string"}}},
            ]
        },
    )

    mark: ReviewMark | None = None
    """replaces the frame's mark; open takes it back, null leaves it"""
    comment: _Comment | None = None
    """for people; shown as text, never as markup"""

    @model_validator(mode="after")
    def _says_something(self) -> "NewReview":
        if self.mark is None and self.comment is None:
            raise ValueError("neither a mark nor a comment; give one")
        return self


class ReviewQuery(QueryModel):
    """Which records to list."""

    reviewer: str | None = Field(None, min_length=1, max_length=200, description="of this person")
    kind: ReviewKind | None = Field(None, description="of this kind")
    camera: CameraId | None = Field(None, description="of frames of this camera")
    limit: int = Field(50, ge=1, le=MAX_LIMIT, description="records a page, at most")
    cursor: Cursor = None


class ReviewView(BaseView):
    """What one person did with one frame; never changed."""

    id: str = Field(validation_alias="review_id")
    url: Annotated[str, BeforeValidator(lambda name: url_of("reviews", name))] = Field(
        validation_alias="review_id"
    )
    """path of this record"""
    time: Time = Field(validation_alias="time_unix_us")
    """clock of the store, UTC, milliseconds exact"""
    frame_id: Text
    frame_url: FrameUrl = Field(validation_alias="frame_id")
    reviewer: str = Field(description="who, by the name of the token, or the address without one")
    kind: ReviewKind = Field(
        description="look: was shown the picture; sharpen: had the camera asked for more; note: "
        "marked or commented"
    )
    level: int | None = Field(ge=0)
    """of a look: the widest level that the picture was made of"""
    mark: ReviewMark | None = Field(description="of a note; null leaves the mark as it was")
    comment: str = Field(description="of a note; empty says nothing")


class ReviewList(BaseView):
    """Review records."""

    reviews: list[ReviewView] = Field(validation_alias="records")
    next_cursor: str | None = Field(description="as in FrameList")


@router.post(
    "/frames/{frame_id}/reviews", status_code=201, responses=problems(400, 404, 410, 413, 422, 503)
)
async def add_review(
    frame: Frame, review: NewReview, response: Response, context: Context, caller: Caller
) -> ReviewView:
    """Mark a frame, comment on it, or both; `Location` leads to the record."""
    await context.store.get_frame(frame)
    reviews = context.store.reviews
    review_id = await reviews.add(
        frame, caller, ReviewKind.NOTE, mark=review.mark, comment=review.comment or ""
    )
    if review_id is None:  # retention was faster than we
        raise FrameGoneError(frame)
    view = ReviewView.model_validate(await reviews.get(review_id))
    response.headers["Location"] = view.url
    return view


@router.get("/frames/{frame_id}/reviews", responses=problems(404, 410, 503))
async def list_reviews_of_frame(frame: Frame, context: Context) -> ReviewList:
    """What people did with one frame, oldest first; about the last 500 records."""
    await context.store.get_frame(frame)
    records = await context.store.reviews.of_frame(frame)
    return ReviewList.model_validate({"records": records, "next_cursor": None})


@router.get("/reviews", responses=problems(400, 422, 503))
async def list_reviews(
    query: Annotated[ReviewQuery, Query()], request: Request, response: Response, context: Context
) -> ReviewList:
    """What people did with any frame, newest first: about the last 50,000 records, also of frames
    that retention has removed. `Link: rel="next"` leads to the next page.
    """
    wanted = ReviewFilter(query.reviewer, query.kind, query.camera)
    page = await context.store.reviews.list(wanted, limit=query.limit, cursor=query.cursor)
    link_next(request, response, page.next_cursor)
    return ReviewList.model_validate(page)


@router.get("/reviews/{review_id}", responses=problems(404, 503))
async def get_review(review_id: str, context: Context) -> ReviewView:
    """One record."""
    return ReviewView.model_validate(await context.store.reviews.get(review_id))
