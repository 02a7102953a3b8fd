"""Problem details: every error of the API has this one shape.

Source: RFC 9457, Problem Details for HTTP APIs.
"""

from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

PROBLEM_MEDIA_TYPE = "application/problem+json"


class InvalidInput(BaseModel):
    """One input that was not understood."""

    model_config = ConfigDict(frozen=True)

    location: str = Field(
        description="where the input is, outermost first", examples=["query.limit"]
    )
    detail: str = Field(description="what is wrong with it, for people")


class Problem(BaseModel):
    """Why a request was not answered."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(
        description="stable name of the kind of problem",
        examples=["urn:slimwire:problem:frame-gone"],
    )
    title: str = Field(description="the kind of problem, for people", examples=["Frame gone"])
    status: int = Field(ge=400, le=599, description="HTTP status code")
    detail: str = Field(description="this problem, for people: found, expected, what to do")
    instance: str = Field(description="path of the request")
    trace_id: str = Field(description="32 hex digits; the log has it, too, when the fault is ours")
    errors: list[InvalidInput] = Field(
        default=[], description="each input that was not understood; validation only"
    )


class ProblemResponse(JSONResponse):
    """A problem as a response."""

    media_type = PROBLEM_MEDIA_TYPE

    def __init__(self, problem: Problem, headers: dict[str, str] | None = None) -> None:
        super().__init__(
            problem.model_dump(exclude_defaults=True),
            status_code=problem.status,
            headers={"Cache-Control": "no-store", **(headers or {})},
        )
