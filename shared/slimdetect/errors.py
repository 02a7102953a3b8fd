"""What can go wrong in detection.

```
DetectError
├── NamesError            a file of class names that cannot be used (path)
└── DetectorMismatchError codec, detector and latents that do not belong together
```
"""

from pathlib import Path


class DetectError(Exception):
    """Base of every error that this package raises on purpose."""


class NamesError(DetectError):
    """A file of class names that cannot be used."""

    def __init__(self, message: str, path: Path) -> None:
        """Keep the `path` of the file."""
        super().__init__(f"{path}: {message}")
        self.path = path


class DetectorMismatchError(DetectError):
    """Codec, detector and latents that do not belong together."""
