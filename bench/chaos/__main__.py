"""The commands of chaos."""

import argparse
import importlib

NAMES = (
    *(
        "clocks",
        "containers",
        "disks",
        "floods",
        "fuzz",
        "kills",
        "model_folders",
        "proxy",
        "references",
        "soak",
        "streams",
    ),
)


def main() -> None:
    """Run one of them; each adds its counts to studies/results/chaos.csv."""
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=__doc__)
    commands = parser.add_subparsers(dest="name", required=True)
    for name in NAMES:
        module = importlib.import_module(f"bench.chaos.{name}")
        module.add_arguments(commands.add_parser(name, description=module.__doc__))
    arguments = parser.parse_args()
    importlib.import_module(f"bench.chaos.{arguments.name}").run(arguments)


if __name__ == "__main__":
    main()
