"""What edges of before sent and the format still has: an inter enhancement, channel groups at the
places that its inter base coded.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from slimcodec.container import MAX_PIXELS, pack_container
from slimcodec.context.coder import ContextCoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact
from slimcodec.pixels import pad_to_multiple, to_x
from slimcodec.sections import build_section_coder, parse_for
from slimcodec.symbols import FrameSymbols


def enhance_inter(
    artifact: CodecArtifact,
    image: NDArray[np.uint8],
    base: bytes,
    reference: FrameSymbols,
    level: int | None = None,
) -> tuple[bytes, FrameSymbols]:
    """The enhancement of an inter base of a picture (H, W, 3), and what its reader holds then."""
    runtime = OpenVinoRuntime(num_threads=1, precision="f32")
    coder = build_section_coder(artifact, runtime)
    assert isinstance(coder, ContextCoder)
    below = parse_for(artifact, base, MAX_PIXELS, reference.image_hw)
    frame = replace(
        below,
        level=artifact.widest_level if level is None else level,
        first_group=below.level + 1,
        sections=(),
        reference=None,
        is_inter=False,
        changes=b"",
    )
    x = pad_to_multiple(to_x(image), artifact.manifest.pad_multiple)
    y = runtime.load(artifact.analysis_path(frame.level))(x=x)["y"][0]
    gain = artifact.tables.gain_at(frame.quality)[: len(y)]
    of_base = coder.decode(below, (y.shape[1], y.shape[2]), reference)
    container, symbols = coder.enhance(
        y * gain[:, np.newaxis, np.newaxis], frame, below, of_base, reference
    )
    return pack_container(container), symbols
