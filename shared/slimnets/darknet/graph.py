"""The layers of a Darknet `.cfg` and the numbers of the layers that each one reads."""

from collections.abc import Sequence

from torch import Tensor, nn

from slimnets.darknet.cfg import CfgSection
from slimnets.darknet.layers import Convolutional, HeadSpec, Shape, build_layer, start_head
from slimnets.errors import CfgError


class LayerGraph(nn.Module):
    """Every layer after `[net]`, run from any of them to any later ones.

    Raises:
        CfgError: an unknown layer or option, or shapes that do not fit.
    """

    def __init__(self, sections: Sequence[CfgSection]) -> None:
        super().__init__()
        if not sections or sections[0].kind not in ("net", "network"):
            raise CfgError("the first section must be [net]")
        self.sections = tuple(sections)
        shapes = [Shape(sections[0].integer("channels", 3, low=1), stride=1)]
        modules: list[nn.Module] = []
        sources: list[tuple[int, ...]] = []
        heads: list[HeadSpec] = []
        for number, section in enumerate(sections[1:]):
            built = build_layer(section, number, shapes)
            modules.append(built.module)
            sources.append(built.sources)
            shapes.append(built.shape)
            if built.head is not None:
                heads.append(built.head)
                before = modules[number - 1]
                if isinstance(before, Convolutional) and before.norm is None:
                    start_head(before.conv, built.head)
        self.layers = nn.ModuleList(modules)
        self.head_specs = tuple(heads)
        self._sources = tuple(sources)
        self._shapes = tuple(shapes[1:])
        self._last_reader = {s: i for i, layers in enumerate(sources) for s in layers}

    def layer_shape(self, layer: int) -> Shape:
        """Channels and stride of a layer's output."""
        return self._shapes[layer]

    def sources(self, layer: int) -> tuple[int, ...]:
        """Absolute numbers of the layers that `layer` reads; -1 is the picture."""
        return self._sources[layer]

    def run(self, x: Tensor, first: int, wanted: frozenset[int]) -> dict[int, Tensor]:
        """Run layers from `first`, whose input is x; give the wanted outputs."""
        outputs = {first - 1: x}
        for number in range(first, max(wanted, default=-1) + 1):
            sources = self._sources[number]
            outputs[number] = self.layers[number](*(outputs[source] for source in sources))
            for source in set(sources):
                # Not kept longer than needed: at inference this is most of the memory.
                if source not in wanted and self._last_reader[source] == number:
                    del outputs[source]
        return {number: outputs[number] for number in wanted}
