"""What can go wrong with networks and their files.

```
NetError
├── CfgError             a Darknet .cfg that cannot be read or built (line)
├── DarknetWeightsError  a .weights file that does not fit its .cfg
└── SplitError           a layer at which the detector cannot be cut
```
"""


class NetError(Exception):
    """Base of every error that this package raises on purpose."""


class CfgError(NetError):
    """A Darknet configuration that cannot be read or built."""

    def __init__(self, message: str, line: int | None = None) -> None:
        """Keep the 1-based `line` of the text that is at fault, if one is."""
        super().__init__(message if line is None else f"line {line}: {message}")
        self.line = line


class DarknetWeightsError(NetError):
    """A weights file that is damaged, or that belongs to another configuration."""


class SplitError(NetError):
    """A layer at which the detector cannot be cut into stem and tail."""
