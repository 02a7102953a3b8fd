"""Darknet `.cfg` text -> sections with typed, checked options.

The format: `[kind]` opens a section, `key=value` lines follow, `#` and `;` begin comments, blanks
do not count.
Source: J. Redmon, Darknet, 2013-2018, https://pjreddie.com/darknet; forks by A. Bochkovskiy.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from slimnets.errors import CfgError

# YOLOv3 has 108 sections in 8 kB; both limits leave an order of magnitude.
MAX_CFG_CHARACTERS = 2**20
MAX_SECTIONS = 2000

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class CfgSection:
    """One section: its kind (`convolutional`), its options as written, and its 1-based line."""

    kind: str
    options: Mapping[str, str]
    line: int

    def text(self, key: str, default: str) -> str:
        """Give an option as written."""
        return self.options.get(key, default)

    def integer(self, key: str, default: int | None = None, low: int = 0, high: int = 65536) -> int:
        """Give an integer option within [low, high]; without a default the option must be there."""
        return self._number(key, default, low, high, int)

    def real(self, key: str, default: float, low: float, high: float) -> float:
        """Give a real option within [low, high]."""
        return self._number(key, default, low, high, float)

    def integers(self, key: str) -> tuple[int, ...]:
        """Give a list of integers separated by commas; the option must be there."""
        return tuple(self._parse(key, item, int) for item in self._items(key))

    def reals(self, key: str) -> tuple[float, ...]:
        """Give a list of real numbers separated by commas; the option must be there."""
        return tuple(self._parse(key, item, float) for item in self._items(key))

    def fail(self, message: str) -> CfgError:
        """Give the error that names this section and its line, for the caller to raise."""
        return CfgError(f"[{self.kind}] {message}", self.line)

    def _number(
        self,
        key: str,
        default: Number | None,
        low: Number,
        high: Number,
        convert: Callable[[str], Number],
    ) -> Number:
        if key not in self.options:
            if default is None:
                raise self.fail(f"has no '{key}'")
            return default
        value = self._parse(key, self.options[key], convert)
        if not low <= value <= high:  # NaN fails here too
            raise self.fail(f"{key}={value}; expected {low} to {high}")
        return value

    def _items(self, key: str) -> Sequence[str]:
        if key not in self.options:
            raise self.fail(f"has no '{key}'")
        return [item for item in self.options[key].split(",") if item]

    def _parse(self, key: str, text: str, convert: Callable[[str], Number]) -> Number:
        try:
            return convert(text)
        except ValueError as exc:
            raise self.fail(f"{key}={text}; expected a number") from exc


def read_cfg_text(path: Path) -> str:
    """The text of a `.cfg` file, in whatever its comments are; without a byte-order mark."""
    return path.read_text(encoding="utf-8-sig", errors="replace")


def parse_cfg(text: str) -> list[CfgSection]:
    """Read the sections of a Darknet configuration; the first must be `[net]`.

    Raises:
        CfgError: with the line, for anything that is not a Darknet configuration.
    """
    if len(text) > MAX_CFG_CHARACTERS:
        raise CfgError(f"{len(text)} characters; expected at most {MAX_CFG_CHARACTERS}")
    sections: list[CfgSection] = []
    options: dict[str, str] = {}
    for number, raw_line in enumerate(text.splitlines(), start=1):
        # Darknet drops blanks inside a line as well: "stride = 2", "0, 1, 2".
        line = "".join(raw_line.split("#")[0].split(";")[0].split())
        if not line:
            continue
        if line.startswith("["):
            if not line.endswith("]") or len(line) < 3:
                raise CfgError(f"'{line}' is not a section name; expected '[name]'", number)
            if len(sections) == MAX_SECTIONS:
                raise CfgError(f"more than {MAX_SECTIONS} sections", number)
            options = {}
            sections.append(CfgSection(line[1:-1], options, number))
            continue
        key, equals, value = line.partition("=")
        if not (key and equals and value):
            raise CfgError(f"'{line[:60]}' is neither '[section]' nor 'key=value'", number)
        if not sections:
            raise CfgError(f"'{key}' stands before the first section", number)
        if options.setdefault(key, value) != value:
            raise CfgError(f"'{key}' is given twice: {options[key]} and {value}", number)
    if not sections:
        raise CfgError("no section found; expected a Darknet .cfg beginning with [net]")
    if sections[0].kind not in ("net", "network"):
        raise CfgError(f"begins with [{sections[0].kind}]; expected [net]", sections[0].line)
    if len(sections) == 1:
        raise CfgError("has no layers after [net]", sections[0].line)
    return sections


def format_cfg(sections: Sequence[CfgSection]) -> str:
    """Write sections as `.cfg` text; `parse_cfg` reads the same sections back."""
    blocks = (
        "\n".join([f"[{s.kind}]", *(f"{key}={value}" for key, value in s.options.items())])
        for s in sections
    )
    return "\n\n".join(blocks) + "\n"
