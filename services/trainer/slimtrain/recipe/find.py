"""Where recipes are and what they are about; to list them takes no torch."""

from pathlib import Path

import yaml

from slimcodec.model.find import shipped

RECIPE_SUFFIX = ".yaml"


class RecipeError(Exception):
    """A recipe that is not there, is no YAML, or says something that cannot be."""


def find_recipe(name: str) -> Path:
    """The file of a recipe: a path that ends in .yaml, or the name of one that came along.

    Raises:
        RecipeError: naming those that are there.
    """
    path = Path(name)
    if path.suffix != RECIPE_SUFFIX:
        path = shipped("recipes") / f"{name}{RECIPE_SUFFIX}"
    if not path.is_file():
        known = ", ".join(recipe_names())
        raise RecipeError(f"no recipe {name!r}; give a {RECIPE_SUFFIX} file or one of: {known}")
    return path


def recipe_names() -> list[str]:
    """Names of the recipes that came along, such as `slim`."""
    return sorted(path.stem for path in shipped("recipes").glob(f"*{RECIPE_SUFFIX}"))


def describe_recipes() -> list[tuple[str, str]]:
    """Name and description of each recipe that came along."""
    names = recipe_names()
    read = (yaml.safe_load(find_recipe(name).read_text(encoding="utf-8")) for name in names)
    return [(name, str(recipe["about"])) for name, recipe in zip(names, read, strict=True)]
