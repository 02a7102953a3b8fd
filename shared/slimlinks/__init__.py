"""Links: recorded and synthetic rates over time, and a connection that is shaped by one.

    file -> Trace -> shaping.ShapedLink       for the demo and the tests
                  -> studies.controller       in simulated time

Names are imported from their modules.
"""

__all__: list[str] = []
