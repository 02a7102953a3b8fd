"""Priors whose tables need no earlier symbol: the symbols of a latent <-> sections coded whole.

    factorized   symbols --columns of the row of this quality--> section
    hyperprior   v -h_a-> rint -> z --columns of that row--> z data ─┐
                                  └-h_s-> scale index ┐              ├─> section
                          symbols --tables of the scale indexes--> y data

Both ends run h_s, so it must give the same indexes on both: it is made of integers, and it is
always loaded to run exactly. What else is computed here chooses no table.
"""

import numpy as np
from numpy.typing import NDArray

from slimcodec.container import Container, Section, join_hyper, split_hyper
from slimcodec.entropy.symbol_tables import SymbolTables
from slimcodec.entropy.whole import decode_symbols, encode_symbols, split_coded
from slimcodec.errors import DamagedContainerError, ModelError
from slimcodec.graph.runtime import Runtime
from slimcodec.model.artifact import ChannelLayout, CodecArtifact
from slimcodec.symbols import check_holds, round_symbols


def check_sections(container: Container, artifact: CodecArtifact) -> None:
    """Refuse sections that hold other symbols than the picture has, or too few bytes for them.

    Raises:
        DamagedContainerError: naming the group.
    """
    (h, w), (latent_h, latent_w) = container.image_hw, artifact.latent_hw(container.image_hw)
    is_hyper = container.prior == "hyperprior"
    for section in container.sections:
        expected = len(artifact.latent_layout.carried(section.group)) * latent_h * latent_w
        if section.symbol_count != expected:
            raise DamagedContainerError(
                f"group {section.group} has {section.symbol_count} symbols; a picture of "
                f"{w}x{h} has {expected}"
            )
        for coded in split_hyper(section) if is_hyper else (section.data,):
            split_coded(coded)
        _check_holds(section, container, artifact)


def _check_holds(section: Section, container: Container, artifact: CodecArtifact) -> None:
    """Refuse fewer bytes than the symbols can be, so that nobody has much decoded for little."""
    layout, hw, bits = artifact.latent_layout, artifact.latent_hw(container.image_hw), 0.0
    if artifact.scale_tables is not None:
        layout, hw = artifact.hyper_layout, artifact.hyper_hw(container.image_hw)
        bits = section.symbol_count * float(artifact.scale_tables.least_bits.min())
    columns = layout.columns(section.group)
    least = artifact.tables.least_bits_at(container.quality)[columns.start : columns.stop]
    check_holds(section, bits + hw[0] * hw[1] * float(least.sum()))


class FactorizedSections:
    """A section is the coded symbols of its channels, each by the table of its column.

    Safe from many threads.
    """

    def __init__(self, artifact: CodecArtifact) -> None:
        self._artifact = artifact

    def load(self, level: int) -> None:
        """Load what encoding at a level needs: nothing."""

    def encode(
        self, v: NDArray[np.float32], frame: Container, base: Container | None
    ) -> tuple[Section, ...]:
        """Return the sections of a container.

        Args:
            v: The gained latent of the frame's level, (M_l, h, w).
            frame: The container that the sections are for, still without them.
            base: With an enhancement, what the reader has already.
        """
        symbols, layout = round_symbols(v), self._artifact.latent_layout
        tables = self._artifact.tables.at(frame.quality)
        sections = []
        for group in frame.groups:
            chosen = _carried(symbols, layout, group)
            data = encode_symbols(chosen, tables, _by_column(layout, group))
            sections.append(Section(group, chosen.size, data))
        return tuple(sections)

    def decode(self, frame: Container) -> NDArray[np.int32]:
        """Return the symbols (M_l, h, w) of a container that has the sections of its whole level.

        Raises:
            DamagedContainerError: the sections contradict the tables or themselves.
        """
        coded = [(section.group, section.data) for section in frame.sections]
        tables, hw = (
            self._artifact.tables.at(frame.quality),
            self._artifact.latent_hw(frame.image_hw),
        )
        return _decode_by_column(coded, self._artifact.latent_layout, hw, tables)


class HyperpriorSections:
    """A section is its channels of z, then its channels of y by the tables that z chooses.

    Methods as those of `FactorizedSections`.
    """

    def __init__(self, artifact: CodecArtifact, runtime: Runtime) -> None:
        assert artifact.scale_tables is not None
        self._artifact = artifact
        self._scales = artifact.scale_tables
        self._runtime = runtime

    def load(self, level: int) -> None:
        """Load h_a and h_s."""
        self._runtime.load(self._artifact.file(f"h_a_{level}.onnx"))
        self._runtime.load(self._artifact.file(f"h_s_{level}.onnx"), exact=True)

    def encode(
        self, v: NDArray[np.float32], frame: Container, base: Container | None
    ) -> tuple[Section, ...]:
        """Return the sections of a container.

        With nested streams the reader has the base's z, which another run of g_a and h_a may have
        rounded otherwise: h_s gets those very numbers.
        """
        h_a = self._runtime.load(self._artifact.file(f"h_a_{frame.level}.onnx"))
        z = round_symbols(h_a(v=v[np.newaxis])["z"][0])
        if base is not None and frame.streams == "nested":
            known = self._decode_z(base)
            z[: len(known)] = known
        index = self._scale_index(z, frame.level)
        symbols = round_symbols(v)
        y_layout, z_layout = self._artifact.latent_layout, self._artifact.hyper_layout
        tables = self._artifact.tables.at(frame.quality)
        sections = []
        for group in frame.groups:
            z_data = encode_symbols(
                _carried(z, z_layout, group), tables, _by_column(z_layout, group)
            )
            chosen = _carried(symbols, y_layout, group)
            y_data = encode_symbols(chosen, self._scales, _carried(index, y_layout, group))
            sections.append(Section(group, chosen.size, join_hyper(z_data, y_data)))
        return tuple(sections)

    def decode(self, frame: Container) -> NDArray[np.int32]:
        """Return the symbols (M_l, h, w); all of z is decoded first, and h_s runs once."""
        index = self._scale_index(self._decode_z(frame), frame.level)
        parts = []
        for section in frame.sections:
            chosen = _carried(index, self._artifact.latent_layout, section.group)
            channels, h, w = chosen.shape
            _, y_data = split_hyper(section)
            parts.append(decode_symbols(y_data, (channels, h, w), self._scales, chosen))
        return np.concatenate(parts)

    def _decode_z(self, frame: Container) -> NDArray[np.int32]:
        coded = [(section.group, split_hyper(section)[0]) for section in frame.sections]
        tables, hw = (
            self._artifact.tables.at(frame.quality),
            self._artifact.hyper_hw(frame.image_hw),
        )
        return _decode_by_column(coded, self._artifact.hyper_layout, hw, tables)

    def _scale_index(self, z: NDArray[np.int32], level: int) -> NDArray[np.int32]:
        """(Mz_l, h/4, w/4) -> (M_l, h, w), the table of each symbol of y."""
        h_s = self._runtime.load(self._artifact.file(f"h_s_{level}.onnx"), exact=True)
        scale_index = h_s(z_hat=z[np.newaxis].astype(np.float32))["scale_index"][0]
        index: NDArray[np.int32] = scale_index.astype(np.int32)
        in_tables = (scale_index >= 0) & (scale_index < self._scales.num_tables)
        if not (in_tables & (index == scale_index)).all():
            raise ModelError(
                f"{self._artifact.label}: h_s gave a scale index that is no integer from 0 to "
                f"{self._scales.num_tables - 1}; export the codec again"
            )
        return index


def _carried(tensor: NDArray[np.int32], layout: ChannelLayout, group: int) -> NDArray[np.int32]:
    channels = layout.carried(group)
    return tensor[channels.start : channels.stop]


def _by_column(layout: ChannelLayout, group: int) -> NDArray[np.intp]:
    """(M', 1, 1): a factorized prior has one table per channel."""
    columns = layout.columns(group)
    return np.arange(columns.start, columns.stop)[:, np.newaxis, np.newaxis]


def _decode_by_column(
    coded: list[tuple[int, bytes]], layout: ChannelLayout, hw: tuple[int, int], tables: SymbolTables
) -> NDArray[np.int32]:
    """Coded symbols of successive groups -> (channels, h, w)."""
    parts = []
    for group, data in coded:
        index = _by_column(layout, group)
        parts.append(decode_symbols(data, (len(index), *hw), tables, index))
    return np.concatenate(parts)
