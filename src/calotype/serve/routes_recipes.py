"""The recipes and their settings, over HTTP."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from calotype.serve.state import State


@cache
def recipes() -> bytes:
    """All recipes with what they are and the schemas of their settings, as JSON."""
    from calotype.recipes import DEFAULT, PUBLISHED, RECIPES, about
    from calotype.serve.options import settings_of

    rows = [
        {
            "name": name,
            "help": about(name),
            "default": name == DEFAULT,
            "published": name in PUBLISHED,
            "settings": settings_of(make()),
        }
        for name, make in RECIPES.items()
    ]
    return json.dumps({"recipes": rows}).encode()


def router(state: State) -> APIRouter:
    """The route."""
    routes = APIRouter(prefix="/v1")

    @routes.get("/recipes", response_model=dict[str, Any])
    async def listed() -> Any:
        """The recipes that models are trained by, with their settings as JSON schemas."""
        return Response(await run_in_threadpool(recipes), media_type="application/json")

    return routes
