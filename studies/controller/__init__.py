"""A camera, a link and a cloud in simulated time, for the controller that the edge really runs.

Recorded links come in, what each policy would have made of them goes out:

    file -> Trace       ─┐
    content -> Content ──┴─> World ─┬─ simulate(policy) -> Run -> outcome.summarise
                                    └─ oracle: what no policy can beat

`comparison.study` does that for every contender on every link, and `comparison.report` writes down
what came of it. Names are imported from their modules.
"""

__all__: list[str] = []
