"""`slimwire calibrate` measures this device, and keeps what it does not measure."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from slimcli.exits import ExitCode
from support.command import Slimwire
from support.toy_artifact import make_image, make_toy_codec


def test_calibrate_keeps_what_it_does_not_measure(slimwire: Slimwire, tmp_path: Path) -> None:
    models, pictures = tmp_path / "models", tmp_path / "pictures"
    folder = make_toy_codec(models)
    pictures.mkdir()
    Image.fromarray(make_image(48, 64)).save(pictures / "a.png")
    before = json.loads((folder / "profile.json").read_text())
    where = ("--size", "64x48", "--models", models)

    seconds = slimwire("calibrate", *where)
    middle = json.loads((folder / "profile.json").read_text())
    bytes_too = slimwire("calibrate", "--images", pictures, *where)
    after = json.loads((folder / "profile.json").read_text())

    assert (seconds.code, bytes_too.code) == (0, 0), seconds.err + bytes_too.err
    bits = [[point["bpp"] for point in profile["points"]] for profile in (before, middle, after)]
    assert bits[0] == bits[1] != bits[2]
    assert after["command"] == before["command"]
    assert [m["calibration"]["pictures"] for m in (middle, after)] == [0, 1]
    sizes = {(t["level"], t["width"], t["height"]) for t in after["calibration"]["timings"]}
    assert sizes == {(level, 64, 48) for level in range(4)}


def test_a_wrong_size_is_refused(slimwire: Slimwire) -> None:
    outcome = slimwire("calibrate", "--size", "64")

    assert outcome.code == ExitCode.USAGE
    assert "such as 1280x720" in outcome.err
