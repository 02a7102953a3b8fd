from __future__ import annotations

from slimcloud.http.probes import PROBE_KEPT_SECONDS, Readiness


async def test_a_probe_that_fails_is_not_ready_and_is_asked_again_after_a_while() -> None:
    now, asked = 100.0, 0

    async def check() -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise OSError("no store")

    readiness = Readiness(clock=lambda: now)
    readiness.checks.append(check)

    first, at_once = await readiness.ok(), await readiness.ok()
    now += PROBE_KEPT_SECONDS
    later = await readiness.ok()

    assert (first, at_once, later, asked) == (False, False, True, 2)
