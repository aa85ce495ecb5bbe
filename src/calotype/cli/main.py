"""``calotype COMMAND ...``: picks the command; bad input becomes one line and exit code 2."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import NamedTuple

from calotype import __version__
from calotype.errors import CalotypeError, ElsewhereError, LostError, UserError, printable, unforeseen
from calotype.spelling import as_options


class Command(NamedTuple):
    """A command: the module of this room that has it, which no other command waits for, its function there, and what it does."""

    module: str
    function: str
    text: str


COMMANDS = {
    "train": Command("train", "run", "train a model, or continue a run"),
    "sample": Command("sample", "run", "draw images from a trained model"),
    "complete": Command("complete", "run", "finish images of which the upper part is given"),
    "restore": Command("restore", "run", "restore pictures: denoise, deblur, fill in, enhance, color; with --prior by any diffusion model"),
    "upscale": Command("restore", "run_upscale", "make pictures larger"),
    "translate": Command("translate", "run", "turn pictures of one kind into another"),
    "classify": Command("classify", "run", "say what images show, with probabilities"),
    "detect": Command("detect", "run", "tell generated images from real ones, as far as that can be told"),
    "degrade": Command("degrade", "run", "degrade pictures, for tests of restoration; color to gray"),
    "trace": Command("trace", "run", "read what pictures say of their making, and draw samples anew"),
    "watermark": Command("watermark", "run", "make a key for invisible watermarks: calotype sample --watermark draws, trace reads"),
    "sign": Command("sign", "run", "sign pictures that were made here with a key of your own (C2PA)"),
    "neighbors": Command("neighbors", "run", "find the real images nearest to generated ones, by name"),
    "latents": Command("latents", "run", "reconstruct, interpolate, find neighbors: look into the latents of a model"),
    "explain": Command(
        "explain", "run", "tell why a model makes or sees what it does, on one page: directions, attributions, surprise ..."
    ),
    "export": Command("export", "run", "write a model as a file that other programs run: ONNX"),
    "push": Command("share", "run_push", "share a model: with its card in a folder, or on the Hugging Face Hub"),
    "pull": Command("share", "run_pull", "take a shared model, its files checked"),
    "probe": Command("probe", "run", "say how well what a generator has learned tells classes apart"),
    "evaluate": Command("evaluate", "run", "judge a run, a model or a folder of images: scores, verdicts, a page"),
    "compare": Command("evaluate", "run_compare", "judge several of them alike, on one page"),
    "selftest": Command("selftest", "run", "measure what the verdicts see and miss, on your own images"),
    "serve": Command("serve", "run", "a web page and a service for trained models, on this machine"),
    "data": Command("data", "run", "check a source of images, or prepare it for fast loading"),
    "recipes": Command("recipes", "run", "list the recipes"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed during work, 2 bad input, 130 interrupted."""
    _open_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    # Threads that wait for each other by spinning lose their turns on a busy machine; PyTorch reads this when it is imported
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")  # what an Apple GPU cannot do yet, the processor does
    if os.environ.get("WORLD_SIZE", "1") != "1":
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # of several processes one says what is wrong, without the stacks of C++
    try:
        _require_working_folder()
        code = _command(words)
        sys.stdout.flush()  # a full disk shows here, not in the words of the interpreter at its end
        return code
    except ElsewhereError as error:
        return _left_alone(error.exit_code)
    except BrokenPipeError:  # whoever read our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except LostError as error:
        return _left_alone(_failed(error, "--json" in words))
    except (Exception, KeyboardInterrupt) as error:
        return _failed(error, "--json" in words)


def _left_alone(code: int) -> int:
    """End at once where another process of this training is gone: threads that still wait for it could abort the interpreter's own end."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return code
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _failed(error: BaseException, as_json: bool) -> int:
    """Say in one line how a command ended, as JSON on stdout as well where that was asked for; returns the exit code."""
    code, line = 1, ""
    if isinstance(error, CalotypeError):
        code, line = error.exit_code, as_options(str(error))
    elif isinstance(error, KeyboardInterrupt):
        code, line = 130, str(error) or "stopped"
    elif isinstance(error, OSError) and error.errno is not None:
        line = f"{_named(error)}: {error.strerror or error}"
    elif isinstance(error, MemoryError):
        line = "not enough memory: ask for less at once, or close other programs"
    else:
        line = unforeseen(error)
    line = printable(line)
    with suppress(OSError):
        print(f"calotype: {line}", file=sys.stderr, flush=True)
    if as_json:
        with suppress(OSError):
            print(json.dumps({"error": line, "exit_code": code}), flush=True)
    return code


def _named(error: OSError) -> str:
    return os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes, os.PathLike)) else "input or output"


def _require_working_folder() -> None:
    """Libraries end the process without a word where the folder that a shell stands in has been removed."""
    try:
        os.getcwd()
    except OSError:
        raise UserError("the working folder is gone: change into one that exists") from None


def _open_streams() -> None:
    """Let standard streams that were closed lead nowhere, and those that cannot show a character show its number."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        stream = getattr(sys, name)
        if stream is None:
            try:
                os.fstat(number)
            except OSError:
                os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: no file that is opened later becomes a stream
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _command(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if words[0] in ("-V", "--version"):
        print(f"calotype {__version__}")
        return 0
    if words[0] not in COMMANDS:
        raise UserError(f"unknown command {words[0]!r}: choose one of {', '.join(COMMANDS)}; calotype --help tells more")
    command = COMMANDS[words[0]]
    run: Callable[[list[str]], int] = getattr(import_module(f"calotype.cli.{command.module}"), command.function)
    return run(words[1:])


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [
        "usage: calotype COMMAND [OPTIONS]",
        "",
        "Train image generators, learn how far they can be trusted, put them to work.",
        "",
        *(f"  {name:<{width}}  {command.text}" for name, command in COMMANDS.items()),
        "",
        "calotype train                          a minute on two cores: handwritten digits that did not exist before",
        "calotype train dcgan --data my/photos --size 64 --minutes 30",
        "calotype sample runs/dcgan-photos-0001 --count 64 --out grid.png",
        "calotype evaluate runs/dcgan-photos-0001",
        "",
        "calotype COMMAND --help shows the options of a command.",
    ]
    return "\n".join(lines)
