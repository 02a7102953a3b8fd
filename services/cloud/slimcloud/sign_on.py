"""Who is signed on at a proxy, as its headers say."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from slimcloud.roles import AccessRole
from slimcloud.tokens import Identity

_MAX_NAME = 64  # characters


@dataclass(frozen=True, slots=True)
class SignOn:
    """Which headers a proxy sends. That nobody else can send them is the server's to see to
    (`slimcloud.behind_proxy`).
    """

    name_header: str
    role: AccessRole  # where no header says another
    role_header: str | None  # roles, with commas between

    @property
    def headers(self) -> list[str]:
        """The headers that only the proxy may send."""
        return [name for name in (self.name_header, self.role_header) if name is not None]

    def find(self, values_of: Callable[[str], Sequence[str]]) -> Identity | None:
        """Who is signed on, by the values of each header of a request; None where nobody is, or
        more than one name came.
        """
        names = values_of(self.name_header)
        name = names[0].strip()[:_MAX_NAME] if len(names) == 1 else ""
        if not name:
            return None
        said = [] if self.role_header is None else values_of(self.role_header)
        return Identity(name, _highest(",".join(said).split(","), self.role))


def _highest(words: Iterable[str], default: AccessRole) -> AccessRole:
    found = {word.strip().lower() for word in words}
    roles = [role for role in AccessRole if role in found and role is not AccessRole.CAMERA]
    return roles[-1] if roles else default  # they are declared from the lowest to the highest
