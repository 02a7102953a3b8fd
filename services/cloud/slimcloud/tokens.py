"""Tokens: who may do what, as a table that keeps only their digests.

    # role     name      SHA-256 of the token
    viewer     wall      5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5
    camera     gate-1    2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae

Tokens are random (`slimwire token`), so a plain digest is enough: there is no word to guess. The
table's file is followed (`slimcloud.followed_file`): who was taken out of it is let go.
"""

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Self

from slimcloud.frame_id import CAMERA_ID_PATTERN
from slimcloud.roles import AccessRole

LOOK_SECONDS = 2.0  # between two looks at what admins made
_TOKEN_BYTES = 32  # of randomness
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose a token is."""

    name: str
    role: AccessRole


@dataclass(frozen=True, slots=True)
class TokenTable:
    """The tokens that a cloud knows, by their digests."""

    entries: tuple[tuple[str, Identity], ...]  # hexadecimal SHA-256, whose

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a table.

        Raises:
            ValueError: a line is wrong; the message names it, and does not repeat the digest.
        """
        entries: dict[str, Identity] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            words = line.partition("#")[0].split()
            if not words:
                continue
            if len(words) != 3:
                raise ValueError(f"tokens, line {number}: expected a role, a name and a digest")
            role, name, digest = words
            if role not in set(AccessRole):
                raise ValueError(
                    f"tokens, line {number}: role {role!r}; expected {', '.join(AccessRole)}"
                )
            if not re.fullmatch(CAMERA_ID_PATTERN, name):
                raise ValueError(
                    f"tokens, line {number}: name {name!r}; expected 1-64 of [A-Za-z0-9._-]"
                )
            if not _DIGEST.fullmatch(digest) or digest in entries:
                raise ValueError(
                    f"tokens, line {number}: expected 64 hexadecimal digits, once in the table"
                )
            entries[digest] = Identity(name, AccessRole(role))
        return cls(tuple(entries.items()))

    def with_cameras(self, digests: Mapping[str, str]) -> Self:
        """The table with other tokens of some cameras; an empty digest: none."""
        kept = [
            (digest, identity)
            for digest, identity in self.entries
            if identity.role is not AccessRole.CAMERA or identity.name not in digests
        ]
        made = [
            (digest, Identity(name, AccessRole.CAMERA))
            for name, digest in digests.items()
            if digest
        ]
        return type(self)((*kept, *made))

    def find(self, token: str) -> Identity | None:
        """Whose a token is; takes as long for every token."""
        digest = token_digest(token)
        found = None
        for known, identity in self.entries:
            if hmac.compare_digest(known, digest):
                found = identity  # and go on: where it stands is told to nobody
        return found

    def has_camera(self, name: str) -> bool:
        return Identity(name, AccessRole.CAMERA) in (identity for _, identity in self.entries)

    @property
    def has_cameras(self) -> bool:
        return any(identity.role is AccessRole.CAMERA for _, identity in self.entries)

    @property
    def has_people(self) -> bool:
        return any(identity.role is not AccessRole.CAMERA for _, identity in self.entries)

    @property
    def has_admins(self) -> bool:
        return any(identity.role is AccessRole.ADMIN for _, identity in self.entries)


def make_token() -> str:
    """A new token, of characters that need no quoting anywhere."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def token_digest(token: str) -> str:
    """What the table keeps of a token: hexadecimal SHA-256."""
    return hashlib.sha256(token.encode()).hexdigest()


def bearer_token(authorization: str) -> str | None:
    """The token of `Bearer <token>`. Source: RFC 6750, section 2.1."""
    scheme, _, token = authorization.strip().partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


class LiveTokens:
    """The table as it is now: that of a file, and before it what admins have made of cameras'
    tokens while the cloud ran.

    Args:
        table: of the file at the start.
        made: asks for the digest of each camera that an admin gave a token; empty: took it back.
    """

    def __init__(self, table: TokenTable, made: Callable[[], Awaitable[Mapping[str, str]]]) -> None:
        self._table = self._of_file = table
        self._made = made
        self._users: list[Callable[[TokenTable], None]] = []
        self._looking = asyncio.Lock()

    def follow(self, user: Callable[[TokenTable], None]) -> None:
        """Hand the table to a user, and each one that comes after it."""
        user(self._table)
        self._users.append(user)

    async def take_file(self, table: TokenTable) -> None:
        """Go by another table of the file."""
        self._of_file = table
        await self.look()

    async def look(self) -> None:
        """Take what admins have made; every `LOOK_SECONDS`, and at once where one has."""
        async with self._looking:  # what is read first must not be told last
            table = self._of_file.with_cameras(await self._made())
            if table != self._table:
                self._table = table
                for user in self._users:
                    user(table)
