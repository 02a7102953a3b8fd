"""Slimwire for programs: a picture for machines in a few kilobytes, and the rest when asked.

    import slimwire

    base = slimwire.encode(rgb)                 # bytes
    boxes = slimwire.detect(base)               # no picture is decoded
    rest = slimwire.enhance(rgb, base)          # only what `base` lacks
    better = slimwire.decode(base, rest)        # uint8 (H, W, 3)

The code of the wire is `slimwire.v1`.
"""

from slimcodec.detection import Detection
from slimcodec.errors import BitstreamError, CodecError, ImageError, ModelError
from slimwire.codec import Codec, decode, detect, encode, enhance

__all__ = [
    "BitstreamError",
    "Codec",
    "CodecError",
    "Detection",
    "ImageError",
    "ModelError",
    "decode",
    "detect",
    "encode",
    "enhance",
]
