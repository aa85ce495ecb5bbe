"""A model to try the service with, trained on the spot."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from calotype.errors import UserError

if TYPE_CHECKING:
    from calotype.engine.display import Display

RECIPE, MINUTES = "hinge", 1.0  # one pass of its network makes an image, so that moves among its latents follow the hand
FOLDER = "demo"


def demo(state: Path, display: Display, minutes: float = MINUTES) -> Path:
    """The run of a small model of handwritten digits in the state folder of a service; trained there where there is none yet."""
    from dataclasses import replace

    from calotype.engine.train import train
    from calotype.models import stored
    from calotype.recipes import named

    place = state / FOLDER
    for run in sorted(place.glob("digits*")):
        with suppress(UserError):
            if (run / "report").exists() or (run / "done").exists():
                stored.find(run)
                return run
    place.mkdir(parents=True, exist_ok=True)
    config = named(RECIPE)
    config = replace(config, train=replace(config.train, minutes=minutes, steps=None, epochs=None))
    number = len(list(place.glob("digits*"))) + 1
    run = place / (f"digits-{number}" if number > 1 else "digits")
    display.say(f"calotype: training a model for the demo, {minutes:g} minutes, on the embedded digits")
    train(config, out=run, display=display)
    (run / "done").touch()
    return run
