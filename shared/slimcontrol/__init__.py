"""Which (level, quality) the next frame gets, or none: the controller and its beliefs.

Pure: no clock, no I/O, no threads; the edge drives it over real links, a simulator over recorded
ones. Names are imported from their modules.
"""

__all__: list[str] = []
