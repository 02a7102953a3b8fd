"""What a person sees of a run while it goes on."""

from __future__ import annotations

from collections.abc import Mapping

from tqdm import tqdm

from slimtrain.loop.log import Cell


class Progress:
    """A bar of steps or, without a number of them, of seconds."""

    def __init__(
        self,
        steps: int | None,
        schedule_seconds: float | None,
        step: int,
        seconds: float,
        is_shown: bool,
    ) -> None:
        self._by_steps = steps is not None
        self._bar = tqdm(
            total=steps if steps is not None else round(schedule_seconds or 0),
            initial=step if self._by_steps else round(seconds),
            unit="step" if self._by_steps else "s",
            mininterval=2.0,
            disable=not is_shown,
        )

    def update(self, step: int, seconds: float) -> None:
        self._bar.update((step if self._by_steps else round(seconds)) - self._bar.n)

    def say(self, row: Mapping[str, Cell]) -> None:
        """The figures of a row of the log."""
        figures = list(row.items())[2:6]
        said = (f"{name} {value:.3g}" for name, value in figures if isinstance(value, float))
        self._bar.set_postfix_str(" ".join(said))

    def close(self) -> None:
        self._bar.close()
