"""Sections of entropy-coded symbols -> container bytes, and back.

`version_2` specifies versions 1 and 2, `version_3` the third.
"""

from slimcodec.container.bitstream import has_checksum, pack_container, parse_container
from slimcodec.container.fields import (
    FINGERPRINT_BYTES,
    MAGIC,
    MAX_LEVELS,
    MAX_PIXELS,
    MAX_QUALITY,
    MAX_SECTION_BYTES,
    QUALITY_STEPS,
    REFERENCE_BYTES,
    Container,
    Prior,
    Section,
    Streams,
    round_quality,
    section_groups,
    to_fixed,
)
from slimcodec.container.version_2 import (
    HEADER_BYTES,
    SECTION_HEADER_BYTES,
    join_hyper,
    split_hyper,
)
from slimcodec.container.version_3 import pack_leb128

__all__ = [
    "FINGERPRINT_BYTES",
    "HEADER_BYTES",
    "MAGIC",
    "MAX_LEVELS",
    "MAX_PIXELS",
    "MAX_QUALITY",
    "MAX_SECTION_BYTES",
    "QUALITY_STEPS",
    "REFERENCE_BYTES",
    "SECTION_HEADER_BYTES",
    "Container",
    "Prior",
    "Section",
    "Streams",
    "has_checksum",
    "join_hyper",
    "pack_container",
    "pack_leb128",
    "parse_container",
    "round_quality",
    "section_groups",
    "split_hyper",
    "to_fixed",
]
