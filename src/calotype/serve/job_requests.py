"""What may be asked of jobs, beside what requests of models are."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from calotype.serve.requests import Asked, SampleRequest, SeedField

MOST_IMAGES = 4096  # of a job
COMPARED = 8  # runs of a comparison
PICTURES = ("interpolate", "complete", "restore", "upscale", "colorize", "translate")
"""Abilities that may take longer than a request."""


class ManySamplesRequest(SampleRequest):
    """More images than are drawn at once."""

    n: Annotated[int, Field(ge=1, le=MOST_IMAGES)] = 64


class JudgementRequest(Asked):
    """How to judge; as many images as a full report has where no count is given."""

    count: Annotated[int | None, Field(ge=2, le=50_000)] = None
    seed: SeedField = 0
    short: bool = False


class ComparisonRequest(JudgementRequest):
    """What to compare."""

    runs: Annotated[list[Annotated[str, Field(max_length=40)]], Field(min_length=2, max_length=COMPARED)]


class CheckRequest(Asked):
    """What to look at."""

    source: Annotated[str, Field(max_length=200)]
