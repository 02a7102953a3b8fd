"""What `slimwire evaluate --video` measured, compared and drawn.

    python -m studies.video OUT

OUT is the folder of `--out`: from its `video.json` come `equal_accuracy.csv`, `accuracy_NAME.png`
and `bytes_NAME.png`, and the medians are printed.
"""

import argparse
import csv
from dataclasses import asdict
from pathlib import Path

from slimtrain.evaluation.evaluate_videos import read_results
from studies.video.equal_accuracy import EqualAccuracy, compare_rates, format_medians
from studies.video.plots import plot_videos


def main() -> None:
    """Read the rows of one evaluation; write what they say beside them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    summarise(parser.parse_args().out)


def summarise(out: Path) -> None:
    """The table, the plots, and the medians on standard output."""
    results = read_results((out / "video.json").read_text())
    ratios = compare_rates([result.row for result in results])
    with (out / "equal_accuracy.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(EqualAccuracy.__annotations__))
        writer.writeheader()
        writer.writerows(map(asdict, ratios))
    plot_videos(results, out)
    print(format_medians(ratios))  # noqa: T201  # a study's own output


if __name__ == "__main__":
    main()
