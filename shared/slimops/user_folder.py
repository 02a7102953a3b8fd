"""Where the XDG standard puts what programs keep for a user.

Source: https://specifications.freedesktop.org/basedir-spec/latest/
"""

import os
from pathlib import Path


def user_folder(variable: str, default: str) -> Path | None:
    """Give our folder below one of the standard's; None: there is no home.

    Args:
        variable: Of the environment, e.g. `XDG_CACHE_HOME`.
        default: Below the home, e.g. `.cache`.
    """
    configured = os.environ.get(variable, "")
    if Path(configured).is_absolute():  # a relative one is to be ignored, as the standard says
        return Path(configured) / "slimwire"
    try:
        return Path.home() / default / "slimwire"
    except RuntimeError:
        return None
