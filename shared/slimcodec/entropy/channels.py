"""Which channels a section carries, and which columns of the tables code them.

    nested, widths 2, 4, 6         group 1 carries channels 2..3, coded by columns 2..3
    separate, widths 2, 4, 6       group 1 carries channels 0..3, coded by columns 2..5

Nested levels share their channels, so a section carries what its level adds to the one below.
Separate levels share nothing: each has all of its channels, and columns of its own.
"""

from dataclasses import dataclass

from slimcodec.container import Streams


@dataclass(frozen=True)
class ChannelLayout:
    """Channels and columns of one coded tensor: y, or the z of a hyperprior."""

    widths: tuple[int, ...]  # of the tensor at every level, growing
    streams: Streams

    @property
    def num_columns(self) -> int:
        """Columns of all levels."""
        return self.widths[-1] if self.streams == "nested" else sum(self.widths)

    def carried(self, group: int) -> range:
        """Return the channels of the tensor that the section of a group carries."""
        is_nested_above = self.streams == "nested" and group > 0
        return range(self.widths[group - 1] if is_nested_above else 0, self.widths[group])

    def columns(self, group: int) -> range:
        """Return the columns that code the section of a group."""
        start = self._first_column(group)
        carried = self.carried(group)
        return range(start + carried.start, start + carried.stop)

    def level_columns(self, level: int) -> slice:
        """Return the columns of all channels of the tensor at a level."""
        start = self._first_column(level)
        return slice(start, start + self.widths[level])

    def _first_column(self, level: int) -> int:
        return 0 if self.streams == "nested" else sum(self.widths[:level])
