"""Types of the settings of a schedule, with the bounds that a recipe is held to."""

from typing import Annotated

from pydantic import Field

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Pixels = Annotated[int, Field(ge=64, multiple_of=32)]
Rate = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]
