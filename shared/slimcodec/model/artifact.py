"""What a model's artifact is: its manifest, its files, and of a codec the tables and the profile.

    <models root>/<name>/<version>/manifest.json + the files that it lists

`slimcodec.model.load` reads them.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

from slimcodec.container import Streams
from slimcodec.context.prior import ContextPrior
from slimcodec.entropy.symbol_tables import SymbolTables
from slimcodec.entropy.tables import Tables
from slimcodec.errors import ModelError
from slimcodec.model.find import read_small
from slimcodec.model.manifest import (
    CodecManifest,
    DetectorManifest,
    Level,
    Profile,
)

ManifestT = TypeVar("ManifestT", CodecManifest, DetectorManifest)


@dataclass(frozen=True)
class ChannelLayout:
    """Which channels of y, or of a hyperprior's z, a section carries, and the columns of the tables
    that code them.

        nested, widths 2, 4, 6         group 1 carries channels 2..3, coded by columns 2..3
        separate, widths 2, 4, 6       group 1 carries channels 0..3, coded by columns 2..5

    Nested levels share their channels, so a section carries what its level adds to the one below.
    Separate levels share nothing: each has all of its channels, and columns of its own.
    """

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


@dataclass(frozen=True, eq=False)
class Artifact(Generic[ManifestT]):
    """A model."""

    directory: Path
    manifest: ManifestT

    @property
    def label(self) -> str:
        """The model for people, as `name/version`."""
        return self.manifest.label

    def file(self, name: str) -> Path:
        """Return the path of a listed file that is there, or raise a ModelError."""
        path = self.directory / name
        if name not in self.manifest.files:
            raise ModelError(f"{self.directory}: the manifest lists no {name}")
        if not path.exists():
            raise ModelError(f"{path}: is missing; this installation cannot do what needs it")
        return path


@dataclass(frozen=True, eq=False)
class CodecArtifact(Artifact[CodecManifest]):
    """A codec: graphs, entropy tables, manifest, and (when measured) the profile."""

    tables: Tables
    profile: Profile | None
    scale_tables: SymbolTables | None = None  # of y, by the scale index; with a hyperprior
    context: ContextPrior | None = None  # with the context prior, which has no columns of tables

    @cached_property
    def fingerprint(self) -> bytes:
        """8 bytes that every container of this codec carries."""
        return bytes.fromhex(self.manifest.fingerprint)

    @property
    def levels(self) -> tuple[Level, ...]:
        """Levels, narrowest first."""
        return self.manifest.levels

    @property
    def widest_level(self) -> int:
        """The last level."""
        return len(self.manifest.levels) - 1

    @cached_property
    def latent_layout(self) -> ChannelLayout:
        """Channels of y in sections; its columns are those of the gains."""
        widths = tuple(level.latent_channels for level in self.levels)
        return ChannelLayout(widths, self.manifest.streams)

    @cached_property
    def hyper_layout(self) -> ChannelLayout:
        """Channels of z in sections; with a hyperprior, its columns are those of the tables."""
        widths = tuple(level.hyper_channels for level in self.levels)
        return ChannelLayout(widths, self.manifest.streams)

    def latent_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of the latent of a padded picture."""
        return self._grid(image_hw, self.manifest.latent_stride)

    def hyper_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of z of a padded picture; only with a hyperprior."""
        assert self.manifest.hyper_stride is not None
        return self._grid(image_hw, self.manifest.hyper_stride)

    def _grid(self, image_hw: tuple[int, int], stride: int) -> tuple[int, int]:
        multiple = self.manifest.pad_multiple
        h, w = (-(-side // multiple) * multiple // stride for side in image_hw)
        return h, w

    def analysis_path(self, level: int) -> Path:
        """Return the path of the graph g_a at a level."""
        return self.file(f"g_a_{level}.onnx")


class DetectorArtifact(Artifact[DetectorManifest]):
    """A detector, cut into stem and tail."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Class names, by class number; a ModelError if the file does not fit."""
        return read_class_names(self.file("detector.names"), self.manifest.classes)


def read_class_names(path: Path, classes: int) -> tuple[str, ...]:
    """Read one name per line, in the order of the class numbers (Darknet's `.names` file).

    Raises:
        ModelError: the file is not UTF-8 text, or holds another number of names.
    """
    try:
        text = read_small(path).decode("utf-8-sig")  # Notepad's mark is no part of a name
    except UnicodeDecodeError as exc:
        raise ModelError(f"{path}: is not UTF-8 text: {exc}") from exc
    names = tuple(line.strip() for line in text.rstrip().splitlines())
    if len(names) != classes:
        raise ModelError(f"{path}: holds {len(names)} names; the detector has {classes} classes")
    return names
