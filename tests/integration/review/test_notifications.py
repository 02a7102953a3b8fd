"""Dead letters of notifications over a real Redis."""

from slimcloud.store.events.outbox import Message
from support.cloud.review import ReviewWorld, ToyCodec, give_tokens, open_review

URL = "/api/v1/notifications/dead-letters"
BEGUN = Message("1-0", "event.begun", "gate-1.0000000000000001.1", "gate-1", "{}")


async def _give_up(review: ReviewWorld) -> None:
    outbox = review.store.outbox
    await outbox.put("1-0", [("phone", BEGUN)])
    waiting = await outbox.first("phone")
    assert waiting is not None
    await outbox.give_up("phone", *waiting, tries=12, reason="answers 500")


async def test_dead_letters_are_listed_and_sent_again(review: ReviewWorld) -> None:
    await _give_up(review)

    (letter,) = (await review.http.get(URL)).json()["dead_letters"]
    again = await review.http.post(f"{URL}/{letter['id']}/delivery-request")
    twice = await review.http.post(f"{URL}/{letter['id']}/delivery-request")
    waiting = await review.store.outbox.first("phone")

    assert (letter["receiver"], letter["kind"], letter["camera"]) == (
        "phone",
        "event.begun",
        "gate-1",
    )
    assert (letter["event_id"], letter["tries"]) == (BEGUN.event_id, 12)
    assert letter["reason"] == "answers 500"
    assert (again.status_code, again.json()["id"]) == (202, letter["id"])
    assert twice.status_code == 404
    assert waiting is not None
    assert waiting[1] == BEGUN
    assert (await review.http.get(URL)).json()["dead_letters"] == []


async def test_they_are_for_admins(redis_url: str, toy_codec: ToyCodec) -> None:
    tokens = give_tokens(eve="reviewer", ada="admin")
    async with open_review(redis_url, toy_codec, tokens=tokens) as review:
        await _give_up(review)
        (letter,) = await review.store.outbox.undelivered(1)
        answers = [
            await review.http.request(method, url, headers={"Authorization": f"Bearer {name}"})
            for name in ("eve", "ada")
            for method, url in (
                ("GET", URL),
                ("POST", f"{URL}/{letter.letter_id}/delivery-request"),
            )
        ]

    assert [answer.status_code for answer in answers] == [403, 403, 200, 202]
