"""Probes, metrics, the API's own description, the page, and events over a real connection."""

import json
import re
from collections.abc import AsyncIterator

from slimcloud.review import end_event_streams
from slimcloud.store import keys
from slimcloud.store.feed import FeedKind
from support.cloud.review import ReviewWorld, served


async def read_events(lines: AsyncIterator[str], count: int) -> list[dict[str, str]]:
    events: list[dict[str, str]] = []
    fields: dict[str, str] = {}
    async for line in lines:
        name, _, value = line.partition(": ")
        if name in ("event", "data", "id"):
            fields[name] = value
        if not line and fields:
            events.append(fields)
            fields = {}
            if len(events) == count:
                break
    return events


async def test_events_come_as_they_happen(review: ReviewWorld) -> None:
    before = await review.store.feed.add(FeedKind.CAMERA_CONNECTED, "gate-1")
    async with served(review) as http, http.stream("GET", "/api/v1/events/stream") as response:
        lines = response.aiter_lines()
        await anext(lines)  # the stream has begun: what follows is after it
        frame_id = await review.send(1)
        await review.store.feed.add(FeedKind.CAMERA_CONNECTED, "gate-2", detail="c")
        events = await read_events(lines, 2)
        after = {"Last-Event-ID": before}
        async with http.stream(
            "GET", "/api/v1/events/stream?frames=true", headers=after
        ) as detailed:
            (with_frame,) = await read_events(detailed.aiter_lines(), 1)
        listed = (await http.get(f"/api/v1/frames/{frame_id}?detections=true")).json()

    assert response.headers["content-type"].startswith("text/event-stream")
    assert [event["event"] for event in events] == ["frame.detected", "camera.connected"]
    assert json.loads(events[0]["data"])["frame_id"] == str(frame_id)
    assert json.loads(events[0]["data"])["frame"] is None
    assert json.loads(with_frame["data"])["frame"] == listed


async def test_answers_and_events_are_compressed_for_who_takes_it(review: ReviewWorld) -> None:
    for sequence in range(1, 21):
        await review.send(sequence)
    async with served(review) as http:
        listed = await http.get("/api/v1/frames?limit=20")
        plain = await http.get("/api/v1/frames?limit=20", headers={"Accept-Encoding": "identity"})
        async with http.stream("GET", "/api/v1/events/stream") as events:
            pass

    assert listed.headers["content-encoding"] == events.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert 4 * int(listed.headers["content-length"]) < len(plain.content)


async def test_a_client_that_comes_back_misses_nothing(review: ReviewWorld) -> None:
    added = [
        await review.store.feed.add(FeedKind.CAMERA_CONNECTED, f"gate-{i}") for i in range(250)
    ]

    async with (
        served(review) as http,
        http.stream(
            "GET", "/api/v1/events/stream", headers={"Last-Event-ID": added[9]}
        ) as response,
    ):
        events = await read_events(response.aiter_lines(), 240)

    assert [event["id"] for event in events] == added[10:]


async def test_a_client_that_comes_back_too_late_is_told(review: ReviewWorld) -> None:
    added = [await review.store.feed.add(FeedKind.CAMERA_CONNECTED, f"gate-{i}") for i in range(3)]
    await review.client.xtrim(keys.FEED, maxlen=1, approximate=False)

    async with served(review) as http:
        heard = []
        for last_seen in (added[0], added[2]):
            headers = {"Last-Event-ID": last_seen}
            async with http.stream("GET", "/api/v1/events/stream", headers=headers) as response:
                lines = response.aiter_lines()
                await anext(lines)  # the stream has begun: what follows is after it
                await review.store.feed.add(FeedKind.CAMERA_CONNECTED, "gate-9")
                heard.append([event["event"] for event in await read_events(lines, 1)])

    assert heard == [["events.missed"], ["camera.connected"]]


async def test_a_client_that_claims_an_event_to_come_takes_no_others_events(
    review: ReviewWorld,
) -> None:
    to_come = {"Last-Event-ID": "9999999999999-0"}

    async with (
        served(review) as http,
        http.stream("GET", "/api/v1/events/stream", headers=to_come) as first,
    ):
        await anext(first.aiter_lines())
        async with http.stream("GET", "/api/v1/events/stream") as second:
            lines = second.aiter_lines()
            for number in range(20):  # one that comes while the stream is read needs no waking
                added = await review.store.feed.add(FeedKind.CAMERA_CONNECTED, f"gate-{number}")
                (event,) = await read_events(lines, 1)
                assert event["id"] == added


async def test_a_server_that_stops_does_not_wait_for_its_listeners(review: ReviewWorld) -> None:
    async with served(review) as http, http.stream("GET", "/api/v1/events/stream") as response:
        end_event_streams(review.api)
        rest = [line async for line in response.aiter_lines()]

    assert not any(line.startswith("event:") for line in rest)


async def test_an_event_id_that_is_none_is_422(review: ReviewWorld) -> None:
    response = await review.http.get(
        "/api/v1/events/stream", headers={"Last-Event-ID": "yesterday"}
    )

    assert response.status_code == 422
    assert response.json()["errors"][0]["location"] == "header.last-event-id"


async def test_probes_are_booleans(review: ReviewWorld) -> None:
    alive, ready = await review.http.get("/livez"), await review.http.get("/readyz")

    assert (alive.status_code, alive.json()) == (200, {"ok": True})
    assert (ready.status_code, ready.json()) == (200, {"ok": True})


async def test_a_process_that_cannot_work_is_not_ready(review: ReviewWorld) -> None:
    async def fail() -> None:
        raise OSError("no room")

    review.readiness.checks.append(fail)

    response = await review.http.get("/readyz")

    assert (response.status_code, response.json()) == (503, {"ok": False})


async def test_metrics_count_requests_by_route_and_lookups_by_result(review: ReviewWorld) -> None:
    frame_id = await review.send(1)
    for _ in range(2):
        await review.http.get(f"/api/v1/frames/{frame_id}/image")

    text = (await review.http.get("/metrics")).text

    route = 'method="GET",route="/api/v1/frames/{frame_id}/image",status="200"'
    assert f"slim_cloud_review_request_seconds_count{{{route}}} 2.0" in text
    assert 'slim_cloud_review_cache_requests_total{cache="response",result="hit"} 1.0' in text
    assert "slim_cloud_review_decode_seconds_count 1.0" in text
    assert str(frame_id) not in text


async def test_methods_that_strangers_make_up_are_one_label(review: ReviewWorld) -> None:
    for method in ("BREW", "PROPFIND"):
        await review.http.request(method, "/api/v1/frames")

    text = (await review.http.get("/metrics")).text
    assert 'seconds_count{method="other",route="/api/v1/frames",status="405"} 2.0' in text
    assert "BREW" not in text


async def test_the_description_names_every_problem_and_no_other_error(review: ReviewWorld) -> None:
    document = (await review.http.get("/api/v1/openapi.json")).json()

    assert "HTTPValidationError" not in json.dumps(document)
    assert {"Problem", "InvalidInput", "FrameView"} <= set(document["components"]["schemas"])
    image = document["paths"]["/api/v1/frames/{frame_id}/image"]["get"]
    assert {"image/png", "image/webp", "image/avif", "image/jpeg"} == set(
        image["responses"]["200"]["content"]
    )
    for status in ("404", "406", "410", "422", "429", "503"):
        assert set(image["responses"][status]["content"]) == {"application/problem+json"}


async def test_every_reference_of_the_description_leads_somewhere(review: ReviewWorld) -> None:
    document = (await review.http.get("/api/v1/openapi.json")).json()

    references = set(re.findall(r'"\$ref": "#/components/schemas/([^"]+)"', json.dumps(document)))

    assert references
    assert references <= set(document["components"]["schemas"])


async def test_the_page_runs_its_own_files_and_nothing_from_elsewhere(review: ReviewWorld) -> None:
    page = await review.http.get("/")

    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"(?:src|href)=[\"']https?:", page.text)
    assert not re.search(r"<script>|<style>| on[a-z]+=", page.text)
    for path in re.findall(r"(?:src|href)=\"(/[^\"]+)\"", page.text):
        assert (await review.http.get(path)).status_code == 200, path


async def test_every_module_that_the_page_imports_is_served(review: ReviewWorld) -> None:
    seen: set[str] = set()
    wanted = {"app.js"}
    while wanted - seen:
        name = (wanted - seen).pop()
        seen.add(name)
        answer = await review.http.get(f"/ui/{name}")
        assert answer.headers["content-type"].startswith("text/javascript"), name
        wanted |= set(re.findall(r'from "\./([a-z]+\.js)"', answer.text))

    assert len(seen) > 5


async def test_a_file_of_the_page_that_the_browser_has_is_304(review: ReviewWorld) -> None:
    first = await review.http.get("/ui/app.js")

    again = await review.http.get("/ui/app.js", headers={"If-None-Match": first.headers["etag"]})
    unknown = await review.http.get("/ui/passwords.txt")

    assert (again.status_code, again.content) == (304, b"")
    assert unknown.status_code == 404
    assert unknown.headers["content-type"] == "application/problem+json"


async def test_clients_that_knew_the_feed_as_events_are_led_to_it(review: ReviewWorld) -> None:
    accept = {"Accept": "text/event-stream"}

    response = await review.http.get("/api/v1/events?frames=true", headers=accept)

    assert response.status_code == 307
    assert response.url.join(response.headers["location"]).raw_path == (
        b"/api/v1/events/stream?frames=true"
    )
