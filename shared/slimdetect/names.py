"""Class names: one per line, in the order of the class numbers (Darknet's `.names` file)."""

from pathlib import Path

from slimdetect.errors import NamesError

MAX_NAMES_BYTES = 2**20


def load_names(path: Path | str, classes: int | None = None) -> tuple[str, ...]:
    """Read class names; with `classes`, exactly so many must be there.

    Raises:
        NamesError: the file is not UTF-8 text, holds no or too few or too many names.
        OSError: the file cannot be read.
    """
    path = Path(path)
    with path.open("rb") as file:
        data = file.read(MAX_NAMES_BYTES + 1)
    if len(data) > MAX_NAMES_BYTES:
        raise NamesError(f"is larger than {MAX_NAMES_BYTES} bytes", path)
    try:
        names = tuple(line.strip() for line in data.decode("utf-8").rstrip().splitlines())
    except UnicodeDecodeError as exc:
        raise NamesError(f"is not UTF-8 text ({exc.reason} at byte {exc.start})", path) from exc
    if not names:
        raise NamesError("holds no names; expected one per line", path)
    if classes is not None and len(names) != classes:
        raise NamesError(f"holds {len(names)} names; the detector has {classes} classes", path)
    return names
