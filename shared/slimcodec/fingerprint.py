"""The identity of a codec: 8 bytes that change with whatever changes symbols or their coding."""

import hashlib
import json
from collections.abc import Iterable, Mapping

import numpy as np

from slimcodec.container import FINGERPRINT_BYTES
from slimcodec.tables import Tables


def compute_fingerprint(
    structure: Mapping[str, object], tables: Tables, analysis_weights: Iterable[bytes]
) -> str:
    """Return the fingerprint as 16 hexadecimal digits; only exporters call this.

    Args:
        structure: levels, qualities, pad multiple, latent stride: plain JSON values.
        tables: The entropy tables and gains.
        analysis_weights: The bytes of g_a's weights, narrowest level first.
    """
    digest = hashlib.sha256(json.dumps(structure, sort_keys=True, separators=(",", ":")).encode())
    for array in (
        tables.gain,
        tables.inverse_gain,
        tables.cdf,
        tables.cdf_length,
        tables.offset,
    ):
        digest.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes())
    for weights in analysis_weights:
        digest.update(weights)
    return digest.digest()[:FINGERPRINT_BYTES].hex()
