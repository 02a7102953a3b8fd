"""`slimwire demo`: edge, cloud and Redis on one machine, watched in the terminal and on the page.

`play.py` has the order of things.
"""

__all__: list[str] = []
