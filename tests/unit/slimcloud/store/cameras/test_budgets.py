from __future__ import annotations

import pytest
from redis.asyncio import Redis

from slimcloud.store.cameras.budgets import BudgetLog, BudgetState, CameraBudget
from slimcloud.store.feed import FeedKind
from slimcloud.store.frames import Store
from slimcontrol.budget import Budget

DAILY = Budget(container_bytes=50_000_000, period_seconds=86_400)
RATE = Budget(container_bytes=8_000, period_seconds=1)


async def test_camera_keeps_to_what_it_says_until_somebody_wants_otherwise(store: Store) -> None:
    await store.budgets.state("gate", DAILY)

    found = await store.budgets.get("gate")

    assert (found.stated, found.wanted, found.state) == (DAILY, None, None)
    assert await store.budgets.take("gate") is None


async def test_wish_goes_from_pending_to_accepted(store: Store) -> None:
    await store.budgets.state("gate", DAILY)
    request_id = await store.budgets.want("gate", RATE)
    (event,) = await store.feed.read("0-0")

    taken = await store.budgets.take("gate")
    again = await store.budgets.take("gate")
    accepted = await store.budgets.accept("gate", request_id)

    assert (event.kind, event.camera_id) == (FeedKind.BUDGET_REQUESTED, "gate")
    assert taken is not None
    assert (taken.wanted, taken.request_id) == (RATE, request_id)
    assert again is None
    assert accepted
    found = await store.budgets.get("gate")
    assert (found.stated, found.state) == (RATE, BudgetState.ACCEPTED)


async def test_camera_that_restarts_is_asked_again(store: Store) -> None:
    request_id = await store.budgets.want("gate", RATE)
    await store.budgets.take("gate")
    await store.budgets.accept("gate", request_id)

    await store.budgets.state("gate", DAILY)

    taken = await store.budgets.take("gate")
    assert taken is not None
    assert taken.request_id == request_id


async def test_camera_that_says_the_wanted_budget_is_left_alone(store: Store) -> None:
    await store.budgets.want("gate", RATE)

    await store.budgets.state("gate", RATE)

    assert await store.budgets.take("gate") is None
    assert (await store.budgets.get("gate")).state is BudgetState.ACCEPTED


async def test_refused_wish_is_not_repeated(store: Store) -> None:
    request_id = await store.budgets.want("gate", RATE)
    await store.budgets.take("gate")

    assert await store.budgets.refuse("gate", request_id, "no such thing here")
    await store.budgets.state("gate", None)

    found = await store.budgets.get("gate")
    assert (found.state, found.detail) == (BudgetState.REFUSED, "no such thing here")
    assert found.stated is None
    assert await store.budgets.take("gate") is None


class InterruptedLog(BudgetLog):
    """Somebody wants another budget just after the log has looked."""

    then_wanted: Budget | None = None

    async def get(self, camera_id: str) -> CameraBudget:
        found = await super().get(camera_id)
        if self.then_wanted is not None:
            wanted, self.then_wanted = self.then_wanted, None
            await self.want(camera_id, wanted)
        return found


@pytest.mark.parametrize("step", ["state", "take", "accept"])
async def test_wish_that_comes_between_is_told_all_the_same(
    store: Store, client: Redis, step: str
) -> None:
    log = InterruptedLog(client, store.feed)
    request_id = await log.want("gate", RATE)
    log.then_wanted = DAILY

    if step == "state":
        await log.state("gate", RATE)
    elif step == "accept":
        await log.accept("gate", request_id)

    told = [taken.wanted for _ in range(3) if (taken := await log.take("gate")) is not None]

    assert told[-1] == DAILY
    assert (await log.get("gate")).state is BudgetState.SENT


async def test_answer_to_another_request_changes_nothing(store: Store) -> None:
    await store.budgets.want("gate", RATE)

    assert not await store.budgets.accept("gate", "another")
    assert not await store.budgets.accept("yard", "")
    assert not await store.budgets.refuse("gate", "another", "no")

    assert (await store.budgets.get("gate")).state is BudgetState.PENDING
