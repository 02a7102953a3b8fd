"""What stops a run before its first step.

LoopError
+-- AnotherRunError    the folder's checkpoint is of a run on something else
+-- ProcessesError     it cannot be shared among so many processes
"""


class LoopError(ValueError):
    """Base of what the loop raises."""


class AnotherRunError(LoopError):
    """The folder's checkpoint is of a run on something else."""


class ProcessesError(LoopError):
    """A run that cannot be shared among so many processes."""
