"""What every process of Slimwire needs around its work: settings, logs, metrics, life cycle.

Names are imported from their modules: the edge has no Redis, and a command that only tells how
something is installed needs no settings.
"""

__all__: list[str] = []
