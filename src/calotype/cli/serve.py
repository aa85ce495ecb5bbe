"""``calotype serve``."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from calotype.cli.parse import parse
from calotype.errors import UserError, printable
from calotype.files import cache_folder, obstacle
from calotype.serve.settings import Logged, Settings
from calotype.settings import Positive

TOKEN = "CALOTYPE_TOKEN"
_Port = Annotated[int, Field(ge=0, le=65535)]
_Images = Annotated[int, Field(ge=1, le=64)]  # as many as `calotype.serve.requests` lets one request ask for


@dataclass(frozen=True)
class Options:
    """Serve trained models on this machine: a web page to play with, and the same as a service over HTTP.

    The page and the service answer at http://127.0.0.1:8420, to this machine alone. Another --host lets other machines in and takes a
    token, from --token-file or the variable CALOTYPE_TOKEN: a service shows it as Authorization: Bearer TOKEN, a browser opens
    /?token=TOKEN once. docs/serving.md lists the routes, the limits and how to put it behind a reverse proxy.

    The first Ctrl-C ends it in order: requests that are being answered are answered.

    Examples:
    calotype serve --demo
    calotype serve runs/flow-matching-mnist5k-0001 runs/hinge-mnist5k-0001
    calotype serve --runs runs --source pets=photos/pets
    """

    # runs, model/ folders and folders of detectors, any number of them
    models: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")] = ()
    runs: Path | None = None  # folder of runs to show, compare and continue; trainings that the page starts go there
    demo: bool = False  # serve a small model that draws digits; the first time it is trained, which takes a minute
    # images that trainings may be started on, by a name of your own: pets=photos/pets; the embedded sets are there anyway
    source: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=FOLDER")] = ()
    host: str = "127.0.0.1"  # address to listen at
    port: _Port = 8420  # 0: any that is free
    # host names by which it is reached besides its address, as behind a reverse proxy
    name: Annotated[tuple[str, ...], tyro.conf.arg(metavar="HOSTNAME")] = ()
    token_file: Path | None = None  # file with the token that requests have to show, 16 characters or more
    state: Path | None = None  # folder for jobs, the gallery and the demo; else serve/ in the cache folder of calotype
    max_megapixels: Positive = 16.0  # of an image that is sent or made
    max_images: _Images = 64  # that one request may ask for
    max_seconds: Positive = 60.0  # that one request may take of a model
    opened: Annotated[int, Field(ge=1, le=1024)] = 8  # models that memory holds at once: those that were asked last
    workers: Annotated[int, Field(ge=1, le=64)] = 1  # processes for jobs
    log: Logged = "errors"  # requests that get a line of JSON on stderr
    device: str = "auto"  # auto, cpu, cuda, mps


def run(words: list[str]) -> int:
    """Serve until it is interrupted."""
    options = parse(Options, words, "calotype serve")
    try:
        import fastapi  # noqa: F401
        import jinja2  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise UserError(f"calotype serve needs {error.name}: pip install fastapi uvicorn jinja2") from None
    state = options.state or cache_folder() / "serve"
    if reason := obstacle(state, folder=True, make=True):
        raise UserError(f"cannot write into {state}: {reason}; give another --state")
    for path in options.models:
        _require_model(path)
    settings = Settings(
        models=options.models,
        runs=options.runs,
        state=state,
        sources=_sources(options.source),
        host=options.host,
        port=options.port,
        names=options.name,
        token=_token(options.token_file),
        device=options.device,
        max_pixels=round(options.max_megapixels * 2**20),
        max_images=options.max_images,
        max_seconds=options.max_seconds,
        opened=options.opened,
        workers=options.workers,
        log=options.log,
    )
    if not (options.models or options.runs or options.demo):
        raise UserError("MODEL is missing: name a run, or --runs FOLDER, or --demo; calotype serve --help lists the options")
    with closing(_listening(settings)) as listener:
        return _serve(settings, listener, demo=options.demo)


def _serve(settings: Settings, listener: socket.socket, *, demo: bool) -> int:
    from calotype.serve.server import serve

    if demo:
        settings = replace(settings, models=(*settings.models, _demo(settings)))
    settings = replace(settings, port=listener.getsockname()[1])

    def ready() -> None:
        how = ", with its token" * bool(settings.token)
        print(f"calotype serves {settings.address}{how}; Ctrl-C ends it", flush=True)

    problem = serve(settings, listener, ready)
    if problem is not None:
        raise problem
    return 0


def _demo(settings: Settings) -> Path:
    """A model for the demo, trained where there is none yet."""
    from calotype.cli.shell import Shell
    from calotype.serve.demo import demo

    assert settings.state is not None
    with closing(Shell()) as display:
        return demo(settings.state, display)


def _require_model(path: Path) -> None:
    """Raise `UserError` for what cannot be a model, before anything heavy is imported."""
    from calotype.files import absent

    wanted = "a run folder, or its model/ folder with config.json and model.safetensors"
    if not path.exists():
        raise UserError(absent(path, wanted))
    if not any((folder / "config.json").is_file() for folder in (path, path / "model")):
        raise UserError(f"{printable(str(path))} holds no trained model: give {wanted}")


def _sources(words: Iterable[str]) -> dict[str, Path]:
    """Folders of images by name. Raises `UserError` for what is none."""
    found: dict[str, Path] = {}
    for word in words:
        name, equals, place = word.partition("=")
        if not equals or not name.isidentifier():
            raise UserError(f"--source {word}: give NAME=FOLDER, a name of letters and digits and what it stands for")
        if not Path(place).exists():
            raise UserError(f"--source {word}: {place} does not exist")
        found[name] = Path(place).absolute()
    return found


def _token(file: Path | None) -> str:
    """The token from a file, or from the environment: a command line is read by everybody on a machine."""
    if file is None:
        return os.environ.get(TOKEN, "")
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--token-file {file} cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if not text:
        raise UserError(f"--token-file {file} is empty: put 16 characters or more into it")
    return text


def _listening(settings: Settings) -> socket.socket:
    """A socket at the address. Raises `UserError` where that is taken, or none of this machine's."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(256)
    except OSError as error:
        listener.close()
        raise UserError(f"cannot listen at {settings.host}:{settings.port} ({error.strerror}): give another --port or --host") from None
    return listener
