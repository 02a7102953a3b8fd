"""How many bytes each camera keeps to, and what it was asked to keep to instead.

    person  want(camera, budget) ──► pending, and an entry that wakes ingest
    ingest  take(camera)         ──► sent        ──► Command on the camera's stream
    camera  Acceptance           ──► accepted           or    Refusal ──► refused

A camera that restarts begins with its own settings, so ingest asks it again then: what a person
wants stays wanted until it is refused, or replaced by something else. What is noted of a wish is
noted of that one only: a newer one may come at any moment.
"""

import uuid
from dataclasses import dataclass
from enum import StrEnum

from redis.asyncio import Redis

from slimcloud.store import keys
from slimcloud.store.feed import Feed, FeedKind
from slimcloud.store.replies import fields_of
from slimcloud.store.scripts import Script
from slimcontrol.budget import Budget

_SET_OF_WISH = Script(__file__, "set_of_wish")


class BudgetState(StrEnum):
    """Where a wish for another budget is on its way."""

    PENDING = "pending"  # the camera has not been told yet
    SENT = "sent"
    ACCEPTED = "accepted"
    REFUSED = "refused"  # see `detail`


@dataclass(frozen=True, slots=True)
class CameraBudget:
    """What a camera keeps to, and the newest wish for something else."""

    stated: Budget | None = None  # what the camera said last; None = it has no budget
    wanted: Budget | None = None  # None = nobody wants another
    request_id: str = ""  # of the Command for it
    state: BudgetState | None = None  # of the wish; None = there is none
    detail: str = ""  # for people; set when refused


@dataclass(frozen=True, eq=False)
class BudgetLog:
    client: Redis
    feed: Feed

    async def get(self, camera_id: str) -> CameraBudget:
        fields = fields_of(await self.client.hgetall(f"{keys.BUDGET}{camera_id}"))
        return CameraBudget(
            stated=_parse(fields.get("stated", "")),
            wanted=_parse(fields.get("wanted", "")),
            request_id=fields.get("request_id", ""),
            state=BudgetState(fields["state"]) if fields.get("state") else None,
            detail=fields.get("detail", ""),
        )

    async def want(self, camera_id: str, budget: Budget) -> str:
        """Ask a camera to keep to a budget; gives the request's id."""
        request_id = uuid.uuid4().hex
        await self.client.hset(
            f"{keys.BUDGET}{camera_id}",
            mapping={
                "wanted": _format(budget),
                "request_id": request_id,
                "state": BudgetState.PENDING.value,
                "detail": "",
            },
        )
        await self.feed.add(FeedKind.BUDGET_REQUESTED, camera_id, detail=request_id)
        return request_id

    async def state(self, camera_id: str, stated: Budget | None) -> None:
        """Note what a camera says in its Hello; where another budget is wanted, ask again."""
        await self.client.hset(f"{keys.BUDGET}{camera_id}", "stated", _format(stated))
        found = await self.get(camera_id)
        if found.wanted is not None and found.state is not BudgetState.REFUSED:
            kept = found.wanted == stated
            state = BudgetState.ACCEPTED if kept else BudgetState.PENDING
            await self._set_of_wish(camera_id, found.request_id, state=state.value)

    async def take(self, camera_id: str) -> CameraBudget | None:
        """The wish that the camera is to be told now, marked as sent; None when there is none."""
        found = await self.get(camera_id)
        if found.wanted is None or found.state is not BudgetState.PENDING:
            return None
        is_newest = await self._set_of_wish(
            camera_id, found.request_id, state=BudgetState.SENT.value
        )
        return found if is_newest else await self.take(camera_id)

    async def accept(self, camera_id: str, request_id: str) -> bool:
        """Note that the camera keeps to it; False when it is no request of this camera's."""
        wanted = (await self.get(camera_id)).wanted
        return await self._set_of_wish(
            camera_id,
            request_id,
            stated=_format(wanted),
            state=BudgetState.ACCEPTED.value,
            detail="",
        )

    async def refuse(self, camera_id: str, request_id: str, detail: str) -> bool:
        """Note that the camera will not; False as for `accept`."""
        return await self._set_of_wish(
            camera_id, request_id, state=BudgetState.REFUSED.value, detail=detail
        )

    async def _set_of_wish(self, camera_id: str, request_id: str, **fields: str) -> bool:
        """False, and nothing is set, when another wish is the newest."""
        parts = [part for field in fields.items() for part in field]
        done = await _SET_OF_WISH(self.client, *parts, camera=camera_id, request_id=request_id)
        return bool(done == 1)


def _format(budget: Budget | None) -> str:
    return f"{budget.container_bytes}/{budget.period_seconds}" if budget else ""


def _parse(value: str) -> Budget | None:
    if not value:
        return None
    container_bytes, _, period_seconds = value.partition("/")
    return Budget(int(container_bytes), int(period_seconds))
