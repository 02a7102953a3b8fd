"""`slimwire recipes`: what can be trained."""

from slimcli.exits import needs_extra
from slimcli.streams import say


def recipes() -> None:
    """List the recipes that came along."""
    with needs_extra("train", "recipes"):
        from slimtrain.recipe.find import describe_recipes

    for name, about in describe_recipes():
        say(f"{name:<24} {about}")
