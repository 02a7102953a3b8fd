"""CompressAI's image models beside ours, with real bytes.

    compressai:MODEL            every quality of its zoo        (fetched: needs a network)
    compressai:MODEL:QUALITY    one of them
    compressai:MODEL[:QUALITY]=FILE   a checkpoint file: the zoo's, or one of its training examples

    x -pad to 64, compress()-> strings -pack-> container bytes -unpack, decompress()-> x_hat

What counts is the length of a file that can be decoded by itself: the entropy coder's strings, 4
bytes of length for each, and 10 bytes for model, quality and sizes. Pictures are padded as
CompressAI's own evaluation pads them.
"""

import struct
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from slimtrain.evaluation.baseline import Baseline
from slimtrain.evaluation.pictures import EvaluationError
from slimtrain.loop.identity import digest_of_weights

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it speaks to torch as of some releases ago
    from compressai import zoo
    from compressai.ops import compute_padding

MODELS = {  # with the qualities that its zoo has of them, trained for squared error
    "bmshj2018-factorized": 8,
    "bmshj2018-hyperprior": 8,
    "mbt2018-mean": 8,
    "mbt2018": 8,
    "cheng2020-anchor": 6,
    "cheng2020-attn": 6,
}
PREFIX = "compressai:"
PAD_MULTIPLE = 64  # pixels
_FORM = "compressai:MODEL, compressai:MODEL:QUALITY or compressai:MODEL:QUALITY=FILE"
_HEADER = struct.Struct("<BBHHHH")  # model, quality, height, width, latent height and width
_LENGTH = struct.Struct("<I")  # of the string that follows

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class RivalName:
    """What `--rival` names; no quality: all of the zoo, or, of a file, one that is called 0."""

    model: str
    quality: int | None
    file: Path | None


def parse_rival(text: str) -> RivalName:
    """Read `compressai:MODEL[:QUALITY][=FILE]`.

    Raises:
        EvaluationError: it is not of this form, or there is no such model or quality.
    """
    name, _, file = text.partition("=")
    model, _, quality = name.removeprefix(PREFIX).partition(":")
    if not name.startswith(PREFIX) or (quality and not quality.isdecimal()):
        raise EvaluationError(f"rival {text}: expected {_FORM}")
    if model not in MODELS:
        raise EvaluationError(f"rival {text}: no model {model!r}; there is {', '.join(MODELS)}")
    number = int(quality) if quality else None
    if not file and number is not None and not 1 <= number <= MODELS[model]:
        raise EvaluationError(
            f"rival {text}: the zoo has qualities 1 to {MODELS[model]} of {model}; give a "
            "checkpoint of another as =FILE"
        )
    return RivalName(model, number, Path(file) if file else None)


def open_rivals(names: Sequence[RivalName]) -> list[Baseline]:
    """Load the models; those of one architecture become one row each of one codec.

    Raises:
        EvaluationError: a file or the zoo does not give a model, or a quality is named twice.
    """
    nets: dict[str, dict[int, nn.Module]] = {}
    for name in names:
        of_model = nets.setdefault(name.model, {})
        for quality, net in _load(name).items():
            if quality in of_model:
                raise EvaluationError(f"rival {name.model} has quality {quality} twice")
            of_model[quality] = net.eval()
    return [_rival(model, dict(sorted(of_model.items()))) for model, of_model in nets.items()]


def _rival(model: str, nets: Mapping[int, nn.Module]) -> Baseline:
    number = list(MODELS).index(model)

    def encode(image: Image, quality: int) -> bytes:
        return encode_rival(nets[quality], image, number, quality)

    def decode(bitstream: bytes, image_hw: tuple[int, int]) -> Image:
        return decode_rival(nets, bitstream)

    weights = ", ".join(f"{quality}: {digest_of_weights(net)}" for quality, net in nets.items())
    return Baseline(
        model,
        tuple(nets),
        f"CompressAI {version('compressai')}, torch {torch.__version__}; weights of qualities "
        f"{weights}; container of {_HEADER.size} bytes and {_LENGTH.size} for each string",
        encode,
        decode,
    )


@torch.inference_mode()
def encode_rival(net: Any, image: Image, model: int, quality: int) -> bytes:
    """A whole file of a picture, uint8 (H, W, 3) RGB."""
    h, w = image.shape[:2]
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    pad, _ = compute_padding(h, w, min_div=PAD_MULTIPLE)
    coded = net.compress(F.pad(x, pad))
    parts = [_HEADER.pack(model, quality, h, w, *coded["shape"])]
    for (string,) in coded["strings"]:
        parts += [_LENGTH.pack(len(string)), string]
    return b"".join(parts)


@torch.inference_mode()
def decode_rival(nets: Mapping[int, Any], bitstream: bytes) -> Image:
    """The picture of such a file, uint8 (H, W, 3) RGB."""
    _, quality, h, w, *shape = _HEADER.unpack_from(bitstream)
    at, strings = _HEADER.size, []
    while at < len(bitstream):
        (length,) = _LENGTH.unpack_from(bitstream, at)
        at += _LENGTH.size + length
        strings.append([bitstream[at - length : at]])
    x_hat: Tensor = nets[quality].decompress(strings, shape)["x_hat"]
    _, unpad = compute_padding(h, w, min_div=PAD_MULTIPLE)
    x_hat = F.pad(x_hat, unpad)
    image: Image = (255 * x_hat[0].clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()
    return np.ascontiguousarray(image)


def _load(name: RivalName) -> dict[int, nn.Module]:
    if name.file is not None:
        return {name.quality or 0: _load_file(name.file, name.model)}
    qualities = range(1, MODELS[name.model] + 1) if name.quality is None else [name.quality]
    return {quality: _fetch(name.model, quality) for quality in qualities}


def _load_file(path: Path, model: str) -> nn.Module:
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        # a training example of CompressAI keeps the weights beside its optimiser
        weights = zoo.load_state_dict(state.get("state_dict", state))
        net = zoo.image.model_architectures[model].from_state_dict(weights)
    except FileNotFoundError:
        raise
    except Exception as exc:  # of many kinds: a cut file, another architecture, something else
        raise EvaluationError(f"{path}: no checkpoint of {model}: {str(exc)[:200]}") from exc
    assert isinstance(net, nn.Module)
    net.update()  # type: ignore[operator]  # CompressAI's; its tables, where the file has none
    return net


def _fetch(model: str, quality: int) -> nn.Module:
    try:
        net: nn.Module = zoo.image_models[model](quality=quality, metric="mse", pretrained=True)
    except OSError as exc:  # URLError is one, too
        url = zoo.image.model_urls[model]["mse"][quality]
        raise EvaluationError(
            f"CompressAI's zoo cannot be reached ({exc}); fetch {url} where there is a network, "
            f"and give it as --rival {PREFIX}{model}:{quality}=FILE"
        ) from exc
    return net
