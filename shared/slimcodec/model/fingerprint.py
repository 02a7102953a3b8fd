"""The identity of a codec: 8 bytes that change with whatever changes symbols or their coding."""

import hashlib
import json
from collections.abc import Iterable, Mapping

import numpy as np

from slimcodec.container import FINGERPRINT_BYTES
from slimcodec.entropy.symbol_tables import SymbolTables
from slimcodec.entropy.tables import Tables


def compute_fingerprint(
    structure: Mapping[str, object],
    tables: Tables,
    symbol_weights: Iterable[bytes],
    scale_tables: SymbolTables | None = None,
) -> str:
    """Return the fingerprint as 16 hexadecimal digits; only exporters call this.

    Args:
        structure: levels, qualities, pad multiple, latent stride: plain JSON values.
        tables: The entropy tables and gains.
        symbol_weights: The bytes of g_a's weights and of the prior's, in an order of the codec's.
        scale_tables: With a hyperprior, the tables of y.
    """
    digest = hashlib.sha256(json.dumps(structure, sort_keys=True, separators=(",", ":")).encode())
    arrays = [tables.gain, tables.inverse_gain, tables.cdf, tables.cdf_length, tables.offset]
    if tables.table_steps != 1:
        arrays.append(np.array(tables.table_steps, np.int32))
    if scale_tables is not None:
        arrays += [scale_tables.cdf, scale_tables.cdf_length, scale_tables.offset]
    for array in arrays:
        digest.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes())
    for weights in symbol_weights:
        digest.update(weights)
    return digest.digest()[:FINGERPRINT_BYTES].hex()
