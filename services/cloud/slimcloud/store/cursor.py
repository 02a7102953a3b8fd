"""Where a page of a list ended, as a word for a URL: base64 of what the list needs to go on."""

import base64
import binascii

from slimcloud.errors import InvalidCursorError


def cursor_of(position: str) -> str:
    """The cursor that `position_of` turns back into `position`."""
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def position_of(cursor: str) -> str:
    """What a cursor stands for; raises `InvalidCursorError` where it is none."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError, ValueError) as exc:
        raise InvalidCursorError(cursor) from exc
