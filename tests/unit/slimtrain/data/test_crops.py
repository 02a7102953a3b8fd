"""Seeds of draws: every number that goes in counts."""

import pytest
import torch

from slimtrain.data.crops import draw_seed


@pytest.mark.parametrize("others", [(2, 5), (1, 6), (1 << 40, 5), (1, 5, 1)])
def test_every_number_changes_what_is_drawn(others: tuple[int, ...]) -> None:
    def draw(*numbers: int) -> torch.Tensor:
        return torch.rand(4, generator=torch.Generator().manual_seed(draw_seed(*numbers)))

    assert torch.equal(draw(1, 5), draw(1, 5))
    assert not torch.equal(draw(1, 5), draw(*others))
