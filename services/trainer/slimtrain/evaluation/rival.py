"""CompressAI's image models beside ours, with real bytes.

    compressai:MODEL            every quality of its zoo        (fetched: needs a network)
    compressai:MODEL:QUALITY    one of them
    compressai:MODEL[:QUALITY]=FILE   a checkpoint file: the zoo's, or one of its training examples

    x -pad to 64, compress()-> strings -pack-> container bytes -unpack, decompress()-> x_hat

What counts is the length of a file that can be decoded by itself: the entropy coder's strings, 4
bytes of length for each, and 10 bytes for model, quality and sizes. Pictures are padded as
CompressAI's own evaluation pads them.
"""

import re
import struct
import warnings
from collections.abc import Iterable, Mapping
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
from slimtrain.loop.checkpoint import digest_of_weights

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
PAD_MULTIPLE = 64  # pixels
_NAME = re.compile(r"compressai:([^:=]+)(?::(\d+))?(?:=(.+))?")
_FORM = "compressai:MODEL, compressai:MODEL:QUALITY or compressai:MODEL:QUALITY=FILE"
_HEADER = struct.Struct("<BBHHHH")  # model, quality, height, width, latent height and width
_LENGTH = struct.Struct("<I")  # of the string that follows

Image = NDArray[np.uint8]


def open_rivals(names: Iterable[str]) -> list[Baseline]:
    """Load the models of `compressai:MODEL[:QUALITY][=FILE]`; those of one architecture become one
    row each of one codec. No quality is all of the zoo or, of a file, one that is called 0.

    Raises:
        EvaluationError: a name is of another form or names what is not there, a file or the zoo
            does not give a model, or a quality is named twice.
    """
    nets: dict[str, dict[int, nn.Module]] = {}
    for name in names:
        model, qualities, file = _parse(name)
        of_model = nets.setdefault(model, {})
        for quality in qualities:
            if quality in of_model:
                raise EvaluationError(f"rival {model} has quality {quality} twice")
            net = _fetch(model, quality) if file is None else _load(file, model)
            of_model[quality] = net.eval()
    return [_rival(model, dict(sorted(of_model.items()))) for model, of_model in nets.items()]


def _parse(name: str) -> tuple[str, Iterable[int], Path | None]:
    match = _NAME.fullmatch(name)
    if match is None:
        raise EvaluationError(f"rival {name}: expected {_FORM}")
    model, quality, file = match.groups()
    if model not in MODELS:
        raise EvaluationError(f"rival {name}: no model {model!r}; there is {', '.join(MODELS)}")
    if file:
        return model, [int(quality or 0)], Path(file)
    there = range(1, MODELS[model] + 1)
    if quality and int(quality) not in there:
        raise EvaluationError(
            f"rival {name}: the zoo has qualities 1 to {there[-1]} of {model}; give a checkpoint "
            "of another as =FILE"
        )
    return model, [int(quality)] if quality else there, None


def _rival(model: str, nets: Mapping[int, Any]) -> Baseline:
    @torch.inference_mode()
    def encode(image: Image, quality: int) -> bytes:
        h, w = image.shape[:2]
        x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        pad, _ = compute_padding(h, w, min_div=PAD_MULTIPLE)
        coded = nets[quality].compress(F.pad(x, pad))
        parts = [_HEADER.pack(list(MODELS).index(model), quality, h, w, *coded["shape"])]
        for (string,) in coded["strings"]:
            parts += [_LENGTH.pack(len(string)), string]
        return b"".join(parts)

    @torch.inference_mode()
    def decode(bitstream: bytes, image_hw: tuple[int, int]) -> Image:
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

    weights = ", ".join(f"{quality}: {digest_of_weights(net)}" for quality, net in nets.items())
    setting = (
        f"CompressAI {version('compressai')}, torch {torch.__version__}; weights of qualities "
        f"{weights}; container of {_HEADER.size} bytes and {_LENGTH.size} for each string"
    )
    return Baseline(model, tuple(nets), setting, encode, decode)


def _load(path: Path, model: str) -> nn.Module:
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
            f"and give it as --rival compressai:{model}:{quality}=FILE"
        ) from exc
    return net
