"""The steps in C: `steps.c`, a plain shared library beside this module that any Python loads.

It is built with the wheel where there is a C compiler. Without it, and where `SLIMWIRE_PURE` is
set, numpy takes the steps: the same bytes, more slowly (`docs/decisions/0039-steps-in-c.md`).
"""

import ctypes
import logging
import os
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimcodec.context.prior import KINDS, PASSES, ContextPrior
from slimcodec.context.steps import Flags, Given, NumpySteps, Steps, Symbols
from slimcodec.entropy.symbol_tables import SymbolTables
from slimcodec.errors import DamagedContainerError

logger = logging.getLogger(__name__)

LIBRARY = Path(__file__).with_name("steps.lib")  # named as no module of Python's
SOURCE = Path(__file__).with_name("steps.c")
PURE = "SLIMWIRE_PURE"

_LANES = 8  # columns of weights, padded to a multiple
_DECODES = True
_NO_MEMORY = 1
_DAMAGE = {  # the other results of steps.c
    2: "a symbol is beyond +-32767",
    3: "data has an escaped value in a form that no encoder writes",
    4: "data holds more than the symbols; it is not of these tables",
    5: "a flag is an escape, which no encoder writes",
}


def find_steps(prior: ContextPrior) -> Steps:
    """Return what takes the steps of a prior's frames: in C where that was built."""
    library = None if os.environ.get(PURE) else load_library(LIBRARY)
    _tell("numpy" if library is None else "C")
    return NumpySteps(prior) if library is None else CompiledSteps(prior, library)


@cache
def _tell(what: str) -> None:
    """Tell once in a process."""
    logger.info("the entropy coder runs in %s", what)


@cache
def load_library(path: Path) -> ctypes.CDLL | None:
    """Return the library, if there is one for this machine that was made of `SOURCE` as it is."""
    try:
        library, source = ctypes.CDLL(str(path)), SOURCE.read_bytes()
        library.slim_source.restype, library.slim_free.restype = ctypes.c_uint32, None
    except (OSError, AttributeError):  # none; or one that does not say of what it was made
        return None
    return library if library.slim_source() == zlib.crc32(source) else None


class _Tables(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("cdf", "length", "offset")),
        *((name, ctypes.c_int32) for name in ("count", "row")),
    ]


class _Prior(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("lut", "ends", "weights", "bits")),
        *((name, _Tables) for name in ("tables", "changes", "modes")),
        *((name, ctypes.c_int32) for name in ("num_chunks", "num_channels")),
    ]


_OF_PLACES = ("there", "fineness", "before", "changed", "alone")  # (h * w,)
_OF_CHANNELS = ("reference", "symbols")  # (h * w, M)
_BIASES = ("bias", "inter_bias")


class _Frame(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int32) for name in ("h", "w", "num_channels")),
        *((name, ctypes.c_void_p) for name in (*_BIASES, *_OF_PLACES, *_OF_CHANNELS)),
    ]


class _Section(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("size", ctypes.c_size_t)]


class _Held:
    """Arrays, and the structure that points to them.

    Args:
        hw, num_channels: Of the arrays.
        arrays: By the names in the structure: flags are of bool, all others become int32. Those
            that are to be written have their type and are in C order.
    """

    def __init__(
        self, hw: tuple[int, ...], num_channels: int, arrays: dict[str, NDArray[Any]]
    ) -> None:
        self.frame, self._arrays = _Frame(*hw, num_channels), []
        for name, array in arrays.items():
            is_flag = array.dtype == np.bool_
            array = np.ascontiguousarray(array, np.bool_ if is_flag else np.int32)
            columns = num_channels if name in _OF_CHANNELS else 1
            assert name in _BIASES or array.size == hw[0] * hw[1] * columns, name
            self._arrays.append(array)
            setattr(self.frame, name, array.ctypes.data)


class CompiledSteps:
    """`Steps` in C."""

    def __init__(self, prior: ContextPrior, library: ctypes.CDLL) -> None:
        self._prior, self._library = prior, library
        self._arrays: list[NDArray[Any]] = []  # that the structure points to
        weights = [
            self._weights(f"{kind}_{chunk.number}_{number}")
            for kind in KINDS
            for chunk in prior.chunks
            for number in range(PASSES)
        ]
        self._c_prior = _Prior(
            self._keep(prior.lut),
            self._keep(prior.ends),
            self._keep(np.array(weights, np.uintp)),
            None,
            *map(self._tables, (prior.tables, prior.change_tables, prior.mode_tables)),
            len(prior.chunks),
            prior.bias.shape[2],
        )

    def encode_flags(self, changed: Flags, alone: Flags, before: Flags, finer: Flags) -> bytes:
        """See `Steps`."""
        if not changed.any():
            return b""
        held = _of_flags(changed, alone, before, finer)
        return self._encode("slim_code_flags", held, 1)[0]

    def decode_flags(self, data: bytes, before: Flags, finer: Flags) -> tuple[Flags, Flags]:
        """See `Steps`."""
        changed, alone = np.zeros_like(before), np.zeros_like(before)
        if data:
            held = _of_flags(changed, alone, before, finer)
            self._call("slim_code_flags", held, _DECODES, _sections([data]))
        return changed, alone

    def choose(self, given: Given, symbols: Symbols) -> Flags:
        """See `Steps`."""
        if not self._c_prior.bits:
            self._c_prior.bits = self._keep(self._prior.bits_of_bins)
        alone = np.ones(len(symbols), np.bool_)
        self._call("slim_choose", self._held(given, symbols.copy(), alone))
        return alone

    def encode(
        self, given: Given, symbols: Symbols, alone: Flags, start: int, ends: Sequence[int]
    ) -> list[bytes]:
        """See `Steps`."""
        held = self._held(given, symbols.copy(), alone)
        return self._encode("slim_code", held, len(ends), len(ends), start, _numbers(ends))

    def decode(self, given: Given, alone: Flags, ends: Sequence[int], data: list[bytes]) -> Symbols:
        """See `Steps`."""
        symbols = np.zeros((len(alone), ends[-1]), np.int32)
        held = self._held(given, symbols, alone)
        sections = _sections(data)
        self._call("slim_code", held, _DECODES, sections, len(ends), 0, _numbers(ends))
        return symbols

    def _held(self, given: Given, symbols: Symbols, alone: Flags) -> _Held:
        prior, quality, reference = self._prior, given.quality, given.reference
        arrays = {"symbols": symbols, "alone": alone, "bias": prior.bias_at(quality)}
        if reference is not None:
            arrays |= {
                "inter_bias": prior.bias_at(quality, inter=True),
                "reference": reference.symbols,
                "there": reference.there,
                "fineness": reference.fineness,
                "changed": reference.changed,
            }
        return _Held(given.hw, symbols.shape[1], arrays)

    def _encode(self, name: str, held: _Held, count: int, *arguments: Any) -> list[bytes]:
        sections = (_Section * count)()
        try:
            self._call(name, held, not _DECODES, sections, *arguments)
            return [ctypes.string_at(one.data, one.size) for one in sections]
        finally:
            for one in sections:
                self._library.slim_free(ctypes.c_void_p(one.data))

    def _call(self, name: str, held: _Held, *arguments: Any) -> None:
        prior, frame = ctypes.byref(self._c_prior), ctypes.byref(held.frame)
        result = getattr(self._library, name)(prior, frame, *arguments)
        if result == _NO_MEMORY:
            raise MemoryError
        if result:
            raise DamagedContainerError(_DAMAGE[result])

    def _weights(self, name: str) -> int:
        """Return where weights lie, their rows padded to whole lanes; 0: there are none."""
        weights = self._prior.weights.get(name)
        if weights is None:
            return 0
        return self._keep(np.pad(weights, ((0, 0), (0, -weights.shape[1] % _LANES))))

    def _tables(self, tables: SymbolTables) -> _Tables:
        arrays = (tables.cdf, tables.cdf_length, tables.offset)
        return _Tables(*map(self._keep, arrays), tables.num_tables, tables.cdf.shape[1])

    def _keep(self, array: NDArray[Any]) -> int:
        """Return where an array lies, in C order, for as long as this lives."""
        self._arrays.append(np.ascontiguousarray(array))
        return self._arrays[-1].ctypes.data


def _of_flags(changed: Flags, alone: Flags, before: Flags, finer: Flags) -> _Held:
    arrays = {"changed": changed, "alone": alone, "before": before}
    return _Held(before.shape, 0, {**arrays, "fineness": finer.astype(np.int32)})


def _numbers(numbers: Sequence[int]) -> Any:
    return (ctypes.c_int32 * len(numbers))(*numbers)


def _sections(data: list[bytes]) -> Any:
    sections = (_Section * len(data))()
    for section, part in zip(sections, data, strict=True):
        if part.endswith(b"\0"):
            raise DamagedContainerError("data ends in a zero byte, which the encoder never writes")
        section.data = ctypes.cast(ctypes.c_char_p(part), ctypes.c_void_p)
        section.size = len(part)
    return sections
