"""Reading Darknet's `.cfg` text."""

import re
from pathlib import Path

import pytest

from slimnets.darknet.cfg import MAX_CFG_CHARACTERS, format_cfg, parse_cfg, read_cfg_text
from slimnets.errors import CfgError
from support.models.darknets import ALL_LAYERS_CFG


def test_comments_and_blanks_do_not_count() -> None:
    sections = parse_cfg("# top\n[net]\n width = 32 ; side\n\n[convolutional]\nlayers = -1, 6\n")

    assert [section.kind for section in sections] == ["net", "convolutional"]
    assert sections[0].options == {"width": "32"}
    assert sections[1].integers("layers") == (-1, 6)
    assert sections[1].line == 5


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "a.cfg").write_bytes(b"\xef\xbb\xbf[net]\n# caf\xe9\n[convolutional]\n")

    assert len(parse_cfg(read_cfg_text(tmp_path / "a.cfg"))) == 2


def test_what_is_written_reads_back_the_same() -> None:
    sections = parse_cfg(ALL_LAYERS_CFG)

    again = parse_cfg(format_cfg(sections))

    assert [(s.kind, s.options) for s in again] == [(s.kind, s.options) for s in sections]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no section found"),
        ("[convolutional]\n", "line 1: begins with [convolutional]; expected [net]"),
        ("[net]\n", "line 1: has no layers"),
        ("width=1\n[net]\n", "line 1: 'width' stands before the first section"),
        ("[net]\nwidth\n", "line 2: 'width' is neither"),
        ("[net]\nwidth=\n", "line 2: 'width=' is neither"),
        ("[net\nwidth=1\n", "line 1: '[net' is not a section name"),
        ("[net]\nwidth=1\nwidth=2\n", "line 3: 'width' is given twice: 1 and 2"),
        ("[net]\n" * 3000, "more than 2000 sections"),
        ("#" * (MAX_CFG_CHARACTERS + 1), "expected at most"),
    ],
)
def test_a_text_that_is_no_cfg_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(CfgError, match=re.escape(message)):
        parse_cfg(text)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("size=three", "size=three; expected a number"),
        ("size=0", "size=0; expected 1 to 31"),
        ("size=99999999999999999999", "expected 1 to 31"),
        ("", "has no 'size'"),
    ],
)
def test_a_number_out_of_its_range_is_refused_with_section_and_line(
    line: str, message: str
) -> None:
    section = parse_cfg(f"[net]\n[maxpool]\n{line}\n")[1]

    with pytest.raises(CfgError, match=re.escape(message)) as caught:
        section.integer("size", low=1, high=31)

    assert caught.value.line == 2
    assert "[maxpool]" in str(caught.value)


def test_not_a_number_is_out_of_every_range() -> None:
    section = parse_cfg("[net]\n[dropout]\nprobability=nan\n")[1]

    with pytest.raises(CfgError, match="probability=nan"):
        section.real("probability", 0.5, 0.0, 1.0)
