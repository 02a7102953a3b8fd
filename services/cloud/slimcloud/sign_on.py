"""Who is signed on at a proxy, as its headers say."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from slimcloud.roles import AccessRole
from slimcloud.tokens import Identity

_MAX_NAME = 64  # characters


@dataclass(frozen=True, slots=True)
class SignOn:
    """Which headers a proxy sends. That nobody else can send them is the server's to see to
    (`slimcloud.http.behind_proxy`).
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
        words = {word.strip().lower() for word in ",".join(said).split(",")} - {AccessRole.CAMERA}
        roles = [role for role in AccessRole if role in words]  # from the lowest to the highest
        return Identity(name, roles[-1] if roles else self.role)
