"""The codecs of the golden containers as models that an ingest serves."""

import json
import shutil
from pathlib import Path

from support.models.toy_artifact import make_toy_detector

VECTORS = Path(__file__).parents[2] / "vectors"


def golden_models(root: Path, codec: str) -> None:
    """A models directory with a codec, `golden`, and a detector for it.

    Args:
        codec: Its folder below `tests/vectors`.
    """
    shutil.copytree(VECTORS / codec, root / "golden" / "1")
    path = root / "golden" / "1" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["detector"] = {"name": "toy-detector", "version": 1}
    path.write_text(json.dumps(manifest))
    make_toy_detector(root)
