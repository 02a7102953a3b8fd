"""A camera, a link and a cloud in simulated time, for the controller that the edge really runs.

Recorded links come in, what each policy would have made of them goes out.
"""

__all__: list[str] = []
