"""An on-demand function whose values a test puts there; in a module that imports little, all of which its meaning rests on."""

from typing import Any

from fti_assets import on_demand

GIVEN: dict[str, Any] = {}


@on_demand(outputs={"x": float})
def given() -> dict[str, Any]:
    return {"x": GIVEN["x"]}
