"""What a detector's training starts from: Darknet files, perhaps of another graph."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from torch import nn

from slimnets.darknet.cfg import CfgSection, parse_cfg, read_cfg_text
from slimnets.darknet.detector import Darknet
from slimnets.darknet.weights import load_darknet_weights
from slimnets.errors import NetError

STATISTICS_MOMENTUM = 0.03  # of batch norm: mosaics and single pictures differ from batch to batch


@dataclass(frozen=True)
class DarknetFiles:
    """A detector as Darknet keeps it."""

    cfg: Path
    weights: Path

    @classmethod
    def named(cls, text: str) -> Self:
        """Of `F.cfg,F.weights`.

        Raises:
            NetError: these are not two names.
        """
        paths = [Path(part) for part in text.split(",")]
        if len(paths) != 2:
            raise NetError(f"{text}: expected two files, F.cfg,F.weights")
        return cls(*paths)

    def load(self) -> Darknet:
        """The detector, in evaluation mode.

        Raises:
            NetError: a cfg that cannot be built, or weights that are not its own.
        """
        model = Darknet(parse_cfg(read_cfg_text(self.cfg)))
        load_darknet_weights(model, self.weights)
        return model.eval()


def build_model(cfg: Path, start: DarknetFiles | None) -> tuple[Darknet, int]:
    """The detector of a cfg, ready to be trained, and how many of its layers are given ones.

    Args:
        start: its layers are taken up to the first that is another in `cfg`; the others, or
            without a start all, begin at random.
    """
    model = Darknet(parse_cfg(read_cfg_text(cfg)))
    taken = 0
    if start is not None:
        source = start.load()
        taken = _count_common(model.sections[1:], source.sections[1:])
        given = source.state_dict()
        state = {name: value for name, value in given.items() if int(name.split(".")[1]) < taken}
        model.load_state_dict(state, strict=False)
        model.seen = source.seen
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = STATISTICS_MOMENTUM
    return model, taken


def _count_common(one: tuple[CfgSection, ...], other: tuple[CfgSection, ...]) -> int:
    """How many first layers are the same."""
    same = [(a.kind, a.options) == (b.kind, b.options) for a, b in zip(one, other, strict=False)]
    return same.index(False) if False in same else len(same)
