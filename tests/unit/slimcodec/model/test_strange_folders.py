"""Whatever is in a model's folder ends in a ModelError; `bench.chaos model_folders` tries more."""

import hashlib
import io
import json
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from slimcodec.encode import Encoder
from slimcodec.errors import ModelError
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.load import load_codec_artifact
from support.models.toy_artifact import make_toy_codec


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy_codec(tmp_path_factory.mktemp("models"))


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "toy" / "1"
    shutil.copytree(whole, copy)
    return copy


def _renew_digests(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for name, record in manifest["files"].items():
        if (folder / name).is_file():
            data = (folder / name).read_bytes()
            record.update(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _tables(folder: Path, cdf: bytes) -> None:
    """Put something else into the place of one array."""
    path, out = folder / "tables.npz", io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, cdf if name == "cdf.npy" else old.read(name))
    path.write_bytes(out.getvalue())
    _renew_digests(folder)


def _header(shape: str) -> bytes:
    words = f"{{'descr': '<u4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    words += b" " * (-(len(words) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(words)) + words


TABLES = {
    "four terabytes by its header": _header("(1048576, 1048576)"),
    "more than fits a number": _header("(" + "9" * 30 + ",)"),
    "nested brackets": _header("(" * 3000 + ")" * 3000),
    "a bomb of zeros": _header("(1, 4096, 4096)") + bytes(4 * 4096 * 4096),
    "no array": b"\x93NUMPY",
    "nothing": b"",
}


@pytest.mark.parametrize("content", TABLES.values(), ids=TABLES)
def test_strange_tables_are_refused(folder: Path, content: bytes) -> None:
    _tables(folder, content)

    with pytest.raises(ModelError, match="tables"):
        load_codec_artifact(folder)


def test_a_zip_that_is_damaged_within_is_refused(folder: Path) -> None:
    path = folder / "tables.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 3 + 40] = bytes(40)
    path.write_bytes(data)
    _renew_digests(folder)

    with pytest.raises(ModelError, match=r"tables\.npz"):
        load_codec_artifact(folder)


@pytest.mark.parametrize("name", ["manifest.json", "profile.json"])
@pytest.mark.parametrize(
    "content",
    [b"[" * 200_000, b'{"format": 1, "training": ' + b'{"a":' * 900 + b"1" + b"}" * 901],
    ids=["very deep", "deep"],
)
def test_nested_json_is_refused(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)

    with pytest.raises(ModelError, match=name):
        load_codec_artifact(folder)


def test_a_text_file_of_many_megabytes_is_not_read(folder: Path) -> None:
    with (folder / "profile.json").open("wb") as file:
        file.truncate(2**40)

    with pytest.raises(ModelError, match=r"profile\.json: is no file of at most"):
        load_codec_artifact(folder)


@pytest.mark.parametrize("name", ["manifest.json", "tables.npz", "profile.json", "g_s.onnx"])
def test_a_folder_in_place_of_a_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir()

    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        load_codec_artifact(folder)


def test_an_endless_file_is_refused_unread(folder: Path) -> None:
    (folder / "g_s.onnx").unlink()
    (folder / "g_s.onnx").symlink_to("/dev/zero")

    with pytest.raises(ModelError, match=r"g_s\.onnx: is no file"):
        load_codec_artifact(folder)


def _replace(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data.replace(old, new)


@pytest.mark.parametrize(
    "change",
    [
        _replace(b"\x01y", b"\x01\xff"),  # names that are no UTF-8
        _replace(b"Conv", b"\xff\xfe\xfd\xfc"),
        lambda data: data[: len(data) // 2],
        lambda _: b"hello",
    ],
    ids=["output", "operator", "half", "text"],
)
def test_a_strange_graph_is_refused(folder: Path, change: Callable[[bytes], bytes]) -> None:
    path = folder / "g_a_0.onnx"
    path.write_bytes(change(path.read_bytes()))
    _renew_digests(folder)
    encoder = Encoder(load_codec_artifact(folder), OpenVinoRuntime(1, "f32"))

    with pytest.raises(ModelError, match=r"g_a_0\.onnx"):
        encoder.encode(np.zeros((32, 32, 3), np.uint8), 0, 0)
