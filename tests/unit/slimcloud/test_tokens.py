from __future__ import annotations

import pytest

from slimcloud.roles import AccessRole
from slimcloud.tokens import (
    Identity,
    LiveTokens,
    TokenTable,
    bearer_token,
    make_token,
    token_digest,
)

DIGEST = token_digest("a token")


def test_token_is_found_by_its_digest() -> None:
    token, other = make_token(), make_token()
    table = TokenTable.parse(
        f"# the wall in the lobby\nviewer wall {token_digest(token)}  # since May\n\n"
        f"camera gate-1 {token_digest(other)}\n"
    )

    assert table.find(token) == Identity("wall", AccessRole.VIEWER)
    assert table.find(other) == Identity("gate-1", AccessRole.CAMERA)
    assert table.find(token[:-1]) is None
    assert table.find("") is None


def test_tokens_are_not_alike() -> None:
    assert len({make_token() for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("viewer wall", "a role, a name and a digest"),
        (f"owner wall {DIGEST}", "role 'owner'; expected camera, viewer, reviewer, admin"),
        (f"viewer the/wall {DIGEST}", "name 'the/wall'"),
        ("viewer wall plain-token", "64 hexadecimal digits"),
        (f"viewer wall {DIGEST}\nadmin boss {DIGEST}", "line 2: expected 64"),
    ],
)
def test_wrong_line_is_named(line: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        TokenTable.parse(line)

    assert "plain-token" not in str(caught.value)


@pytest.mark.parametrize(
    ("role", "may"),
    [
        (AccessRole.CAMERA, {AccessRole.CAMERA}),
        (AccessRole.VIEWER, {AccessRole.VIEWER}),
        (AccessRole.REVIEWER, {AccessRole.VIEWER, AccessRole.REVIEWER}),
        (AccessRole.ADMIN, {AccessRole.VIEWER, AccessRole.REVIEWER, AccessRole.ADMIN}),
    ],
)
def test_role_holds_those_before_it_and_no_camera(role: AccessRole, may: set[AccessRole]) -> None:
    assert {needed for needed in AccessRole if role.includes(needed)} == may


@pytest.mark.parametrize(
    ("header", "token"),
    [("Bearer abc", "abc"), ("bearer  abc ", "abc"), ("Basic abc", None), ("Bearer", None)],
)
def test_bearer_header_is_read(header: str, token: str | None) -> None:
    assert bearer_token(header) == token


async def test_what_an_admin_made_of_the_token_of_a_camera_counts_before_the_table() -> None:
    lines = [f"{role} {name} {token_digest(name)}" for role, name in (
        ("camera", "gate"), ("camera", "yard"), ("camera", "door"), ("admin", "gate-admin"),
    )]  # fmt: skip
    made = {"gate": token_digest("another"), "yard": "", "new": token_digest("first")}

    async def digests() -> dict[str, str]:
        return made

    tokens = LiveTokens(TokenTable.parse("\n".join(lines)), digests)
    tables = list[TokenTable]()
    tokens.follow(tables.append)
    await tokens.look()
    await tokens.look()

    start, table = tables
    assert start.find("gate") is not None
    known = {
        token: None if (found := table.find(token)) is None else found.name
        for token in ("gate", "another", "yard", "door", "first", "gate-admin", "")
    }
    assert known == {
        "gate": None, "another": "gate", "yard": None, "door": "door", "first": "new",
        "gate-admin": "gate-admin", "": None,
    }  # fmt: skip
