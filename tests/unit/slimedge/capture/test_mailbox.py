"""The newest-frame mailbox."""

from __future__ import annotations

import pytest

from slimedge.capture.mailbox import Mailbox


def test_a_newer_item_replaces_one_that_nobody_took_and_is_given_back() -> None:
    mailbox: Mailbox[int] = Mailbox()

    replaced = [mailbox.put(1), mailbox.put(2), mailbox.put(3)]

    assert replaced == [None, 1, 2]
    assert mailbox.take() == 3


def test_an_item_is_taken_once() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put(1)

    assert (mailbox.take(), mailbox.take()) == (1, None)
    assert mailbox.put(2) is None


def test_a_closed_box_gives_its_last_item_and_takes_no_more() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put(1)

    mailbox.close()

    assert mailbox.closed
    assert (mailbox.take(), mailbox.take()) == (1, None)
    with pytest.raises(ValueError, match="closed"):
        mailbox.put(2)
