"""Darknet's `.weights` files: written, read, and refused."""

import struct
from pathlib import Path

import pytest
import torch

from slimnets.darknet.weights import load_darknet_weights, save_darknet_weights
from slimnets.errors import DarknetWeightsError
from support.models.darknets import convolution, make_darknet, make_pictures


@torch.no_grad()
def test_what_is_saved_loads_to_the_same_network(tmp_path: Path) -> None:
    model, other = make_darknet(seed=1), make_darknet(seed=2)
    model.seen = 2**40 + 3
    path = tmp_path / "detector.weights"

    save_darknet_weights(model, path)
    load_darknet_weights(other, path)

    assert other.seen == 2**40 + 3
    x = make_pictures()
    for a, b in zip(model(x), other(x), strict=True):
        assert torch.equal(a, b)


def test_values_follow_darknets_order(tmp_path: Path) -> None:
    model = make_darknet()
    path = tmp_path / "detector.weights"

    save_darknet_weights(model, path)

    data = path.read_bytes()
    assert struct.unpack_from("<iiiQ", data) == (0, 2, 5, 0)
    first = convolution(model, 0)
    norm = first.norm
    assert norm is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    values = torch.frombuffer(bytearray(data[20:]), dtype=torch.float32)
    expected = (
        norm.bias,
        norm.weight,
        norm.running_mean,
        norm.running_var,
        first.conv.weight.flatten(),
    )
    assert torch.equal(values[: 4 * 8 + 8 * 27], torch.cat(expected))


def test_the_old_header_with_a_short_counter_is_read(tmp_path: Path) -> None:
    model = make_darknet()
    path = tmp_path / "detector.weights"
    save_darknet_weights(model, path)
    path.write_bytes(struct.pack("<iiii", 0, 1, 0, 77) + path.read_bytes()[20:])

    load_darknet_weights(model, path)

    assert model.seen == 77


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (slice(0, -4), "truncated"),
        (slice(0, -1), "truncated"),
        (slice(0, 20), "holds 0 values"),
        (slice(0, 7), "only 7 bytes"),
        (slice(0, 0), "only 0 bytes"),
    ],
)
def test_a_truncated_file_is_refused_and_changes_nothing(
    tmp_path: Path, cut: slice, message: str
) -> None:
    model, other = make_darknet(seed=1), make_darknet(seed=2)
    path = tmp_path / "detector.weights"
    save_darknet_weights(model, path)
    path.write_bytes(path.read_bytes()[cut])
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}

    with pytest.raises(DarknetWeightsError, match=message) as caught:
        load_darknet_weights(other, path)

    assert str(caught.value).startswith(f"{path}: ")
    assert all(torch.equal(t, before[name]) for name, t in other.state_dict().items())


def test_a_file_that_is_too_long_is_refused(tmp_path: Path) -> None:
    model = make_darknet()
    path = tmp_path / "detector.weights"
    save_darknet_weights(model, path)
    path.write_bytes(path.read_bytes() + bytes(4))

    with pytest.raises(DarknetWeightsError, match="too long"):
        load_darknet_weights(model, path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "detector.weights"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))

    with pytest.raises(DarknetWeightsError, match="header says version"):
        load_darknet_weights(make_darknet(), path)


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    model = make_darknet()
    path = tmp_path / "detector.weights"
    save_darknet_weights(model, path)
    path.write_bytes(path.read_bytes()[:-4] + struct.pack("<f", float("nan")))

    with pytest.raises(DarknetWeightsError, match="not finite"):
        load_darknet_weights(model, path)
