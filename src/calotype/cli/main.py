"""``calotype COMMAND ...``: picks the command; bad input becomes one line and exit code 2."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from calotype import __version__
from calotype.errors import CalotypeError, UserError

COMMANDS = {
    "train": "train a model, or continue a run",
    "sample": "draw images from a trained model",
    "complete": "finish images of which the upper part is given",
    "restore": "mend pictures: denoise, deblur, fill in, enhance, color; with --prior by any diffusion model",
    "upscale": "make pictures larger",
    "translate": "turn pictures of one kind into another",
    "degrade": "spoil pictures, for tests of restoration; color to gray",
    "latents": "reconstruct, interpolate, find neighbors: look into the latents of a model",
    "evaluate": "judge a run, a model or a folder of images: scores, verdicts, a page",
    "compare": "judge several of them alike, on one page",
    "selftest": "measure what the verdicts see and miss, on your own images",
    "data": "check a source of images, or prepare it for fast loading",
    "recipes": "list the recipes",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed during work, 2 bad input, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    # Threads that wait for each other by spinning lose their turns on a busy machine; PyTorch reads this when it is imported
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        return _command(words)
    except CalotypeError as error:
        print(f"calotype: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("calotype: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"calotype: {error.filename or 'input or output'}: {error.strerror or error}", file=sys.stderr)
        return 1


def _command(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if words[0] in ("-V", "--version"):
        print(f"calotype {__version__}")
        return 0
    if words[0] not in COMMANDS:
        raise UserError(f"unknown command {words[0]!r}: choose one of {', '.join(COMMANDS)}; calotype --help tells more")
    return _runner(words[0])(words[1:])


def _runner(name: str) -> Callable[[list[str]], int]:
    # imported here: a command must not wait for what another one needs
    match name:
        case "train":
            from calotype.cli import train

            return train.run
        case "sample":
            from calotype.cli import sample

            return sample.run
        case "complete":
            from calotype.cli import complete

            return complete.run
        case "restore":
            from calotype.cli import restore

            return restore.run
        case "upscale":
            from calotype.cli import restore

            return restore.run_upscale
        case "translate":
            from calotype.cli import translate

            return translate.run
        case "degrade":
            from calotype.cli import degrade

            return degrade.run
        case "latents":
            from calotype.cli import latents

            return latents.run
        case "evaluate":
            from calotype.cli import evaluate

            return evaluate.run
        case "compare":
            from calotype.cli import evaluate

            return evaluate.run_compare
        case "selftest":
            from calotype.cli import selftest

            return selftest.run
        case "data":
            from calotype.cli import data

            return data.run
        case _:
            from calotype.cli import recipes

            return recipes.run


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [
        "usage: calotype COMMAND [OPTIONS]",
        "",
        "Train image generators, learn how far they can be trusted, put them to work.",
        "",
        *(f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()),
        "",
        "calotype train                          a minute on two cores: handwritten digits that did not exist before",
        "calotype train dcgan --data my/photos --size 64 --minutes 30",
        "calotype sample runs/dcgan-photos-0001 --count 64 --out grid.png",
        "calotype evaluate runs/dcgan-photos-0001",
        "",
        "calotype COMMAND --help shows the options of a command.",
    ]
    return "\n".join(lines)
