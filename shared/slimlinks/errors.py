"""What can go wrong with a recorded link: `TraceError`, and nothing else."""


class TraceError(Exception):
    """A file that is no recorded link, or a link that nothing passes."""
