"""What the window and the share of a camera are, and when it is told."""

from __future__ import annotations

from slimcloud.ingest.camera_stream import CameraStream
from slimcloud.ingest.event_relay import CreditControl
from slimcloud.settings import CloudSettings
from slimcloud.store.frames import Store
from slimwire.v1 import ingest_pb2 as pb

SETTINGS = CloudSettings(credit_bytes=4096, max_queue_size=100)


class Told:
    """Two cameras of one process, and what they heard."""

    def __init__(self, store: Store) -> None:
        self.streams = {name: CameraStream(name, 1) for name in ("gate", "yard")}
        self.control = CreditControl(store, self.streams, SETTINGS)

    async def news(self) -> list[tuple[str, int, int]]:
        """Camera, window and share of each Credit since the last look."""
        heard = []
        for name, stream in self.streams.items():
            stream.answer(None)
            while (answer := await stream.next_answer()) is not None:
                credit: pb.Credit = answer.credit
                heard.append((name, credit.credit_bytes, credit.pixels_per_second))
        return heard


async def test_a_share_is_told_to_every_camera_with_its_window(store: Store) -> None:
    told = Told(store)

    told.control.follow({}, 1000, {})

    assert await told.news() == [("gate", 4096, 1000), ("yard", 4096, 1000)]


async def test_a_share_is_told_again_when_it_is_much_another(store: Store) -> None:
    told = Told(store)
    told.control.follow({}, 1000, {})
    await told.news()

    told.control.follow({}, 1040, {})
    assert await told.news() == []
    told.control.follow({}, 1060, {})
    assert await told.news() == [("gate", 4096, 1060), ("yard", 4096, 1060)]
    told.control.follow({}, 0, {})
    assert await told.news() == [("gate", 4096, 0), ("yard", 4096, 0)]


async def test_a_window_closes_for_the_camera_with_much_in_a_full_queue_only(
    store: Store,
) -> None:
    told = Told(store)

    told.control.follow({"gate": 60, "yard": 10}, 0, {})
    assert await told.news() == [("gate", 0, 0)]

    told.control.follow({"gate": 20, "yard": 10}, 0, {})
    assert await told.news() == []
    told.control.follow({}, 0, {})
    assert await told.news() == [("gate", 4096, 0)]


async def test_a_camera_that_weighs_more_is_granted_more_and_has_more_of_a_full_queue(
    store: Store,
) -> None:
    told = Told(store)

    told.control.follow({"gate": 35, "yard": 35}, 1000, {"gate": 3.0})

    assert await told.news() == [("gate", 4096, 3000), ("yard", 0, 1000)]
