"""A Darknet detector as one torch module that can be cut in two.

```
x -stem: layers 0..split-> f -tail: layers split+1..-> raw head maps      forward = tail after stem
```
Layers carry Darknet's own 0-based numbers. A cut is possible where no later layer reads an earlier
output.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from slimnets.darknet.cfg import CfgSection
from slimnets.darknet.layers import BuiltLayer, Convolutional, Shape, build_layer, start_head
from slimnets.errors import CfgError, SplitError


@dataclass(frozen=True)
class SplitPoint:
    """Where the detector is cut: f is the output of `layer`, (B, channels, H/stride, W/stride)."""

    layer: int
    channels: int
    stride: int


class LayerGraph(nn.Module):
    """Every layer after `[net]`, run from any of them to any later ones.

    Attributes:
        shapes: of each layer's output.
        sources: numbers of the layers that each layer reads; -1 is the picture.

    Raises:
        CfgError: an unknown layer or option, or shapes that do not fit.
    """

    def __init__(self, sections: Sequence[CfgSection]) -> None:
        super().__init__()
        if not sections or sections[0].kind not in ("net", "network"):
            raise CfgError("the first section must be [net]")
        self.sections = tuple(sections)
        shapes = [Shape(sections[0].integer("channels", 3, low=1), stride=1)]
        built: list[BuiltLayer] = []
        for number, section in enumerate(sections[1:]):
            built.append(layer := build_layer(section, number, shapes))
            shapes.append(layer.shape)
            before = built[number - 1].module
            if layer.head and isinstance(before, Convolutional) and before.norm is None:
                start_head(before.conv, layer.head)
        self.layers = nn.ModuleList(layer.module for layer in built)
        self.head_specs = tuple(layer.head for layer in built if layer.head)
        self.sources = tuple(layer.sources for layer in built)
        self.shapes = tuple(layer.shape for layer in built)
        self._last_reader = {s: i for i, layers in enumerate(self.sources) for s in layers}

    def run(self, x: Tensor, first: int, wanted: Collection[int]) -> dict[int, Tensor]:
        """Run layers from `first`, whose input is x; give the wanted outputs, by layer number."""
        outputs = {first - 1: x}
        for number in range(first, max(wanted, default=-1) + 1):
            sources = self.sources[number]
            outputs[number] = self.layers[number](*(outputs[source] for source in sources))
            for source in set(sources):
                # Not kept longer than needed: at inference this is most of the memory.
                if source not in wanted and self._last_reader[source] == number:
                    del outputs[source]
        return {number: outputs[number] for number in wanted}


class Darknet(LayerGraph):
    """A detector: the layers of a `.cfg` with at least one YOLO head."""

    def __init__(self, sections: Sequence[CfgSection]) -> None:
        """Build every layer after `[net]`.

        Raises:
            CfgError: an unknown layer or option, shapes that do not fit, or no YOLO head.
        """
        super().__init__(sections)
        self.seen = 0  # pictures seen in training, as Darknet counts them in its .weights header
        if not self.head_specs:
            raise CfgError("has no [yolo] layer; expected at least one")
        if len({head.classes for head in self.head_specs}) != 1:
            raise CfgError(f"heads differ in classes: {[h.classes for h in self.head_specs]}")

    @property
    def classes(self) -> int:
        """Number of object classes."""
        return self.head_specs[0].classes

    @property
    def max_stride(self) -> int:
        """Largest stride in the graph; pictures' sides must be multiples of it to join layers."""
        return max(shape.stride for shape in self.shapes)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Raw head maps (B, A * (5 + classes), H/stride, W/stride) in the order of the YOLO layers.

        Args:
            x: (B, 3, H, W) RGB in [0, 1]; H and W multiples of `max_stride`.
        """
        return self._heads(self.run(x, 0, self.head_layers))

    def stem(self, x: Tensor, split: int) -> Tensor:
        """Features f of layer `split`: (B, 3, H, W) -> (B, channels, H/stride, W/stride)."""
        self.split_point(split)
        return self.run(x, 0, (split,))[split]

    def tail(self, f: Tensor, split: int) -> list[Tensor]:
        """Raw head maps of the features (B, channels, H/stride, W/stride) of layer `split`."""
        return self._heads(self.tail_features(f, split, self.head_layers))

    def tail_features(self, f: Tensor, split: int, layers: Collection[int]) -> dict[int, Tensor]:
        """Outputs of `layers`, all behind the split, from the features f of layer `split`."""
        self.split_point(split)
        return self.run(f, split + 1, layers)

    def split_point(self, layer: int) -> SplitPoint:
        """Channels and stride at `layer`, if the graph can be cut there.

        Raises:
            SplitError: names the later layer that reaches behind the cut, or the head before it.
        """
        if not 0 <= layer < len(self.layers) - 1:
            raise SplitError(
                f"layer {layer} cannot be the split; expected 0 to {len(self.layers) - 2}"
            )
        for head in self.head_specs:
            if head.layer <= layer:
                raise SplitError(
                    f"the YOLO head at layer {head.layer} lies before a split at {layer}"
                )
        for later in range(layer + 1, len(self.layers)):
            for source in self.sources[later]:
                if source < layer:
                    raise SplitError(
                        f"layer {later} ({self.sections[later + 1].kind}) reads layer {source}, "
                        f"behind a split at {layer}; split at {source} or earlier, "
                        f"or after {later}"
                    )
        shape = self.shapes[layer]
        return SplitPoint(layer, shape.channels, shape.stride)

    @property
    def head_layers(self) -> tuple[int, ...]:
        """Layer numbers of the raw head maps, in the order of `head_specs`."""
        return tuple(head.layer for head in self.head_specs)

    @property
    def joined_layers(self) -> tuple[int, ...]:
        """Layers that a later route takes up again, in order: where the neck's paths meet."""
        routes = (i for i, section in enumerate(self.sections[1:]) if section.kind == "route")
        return tuple(
            sorted({source for i in routes for source in self.sources[i] if source != i - 1})
        )

    def _heads(self, outputs: dict[int, Tensor]) -> list[Tensor]:
        return [outputs[head.layer] for head in self.head_specs]
