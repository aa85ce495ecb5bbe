"""``calotype serve``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from calotype.cli.parse import parse
from calotype.errors import UserError


@dataclass(frozen=True)
class Options:
    """Serve trained models: a web page to play with, and the same over HTTP.

    Example:
    calotype serve runs/flow-matching-mnist5k-0001
    """

    models: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")] = ()  # runs, model/ folders, detectors
    runs: Path | None = None  # folder of runs to show, and to train in
    host: str = "127.0.0.1"  # address to listen at; another than this machine's own needs a token
    port: Annotated[int, Field(ge=0, le=65535)] = 8420  # 0: any that is free
    device: str = "auto"  # auto, cpu, cuda, mps


def run(words: list[str]) -> int:
    """Serve until interrupted."""
    options = parse(Options, words, "calotype serve")
    try:
        import uvicorn

        from calotype.serve.app import create_app
        from calotype.serve.settings import Settings
    except ModuleNotFoundError as error:
        raise UserError(f"calotype serve needs {error.name}: pip install 'calotype[serve]'") from None
    settings = Settings(options.models, options.runs, host=options.host, port=options.port, device=options.device)
    print(f"{settings.address}  (Ctrl-C ends it)", flush=True)
    config = uvicorn.Config(
        create_app(settings),
        options.host,
        options.port,
        access_log=False,
        log_level="warning",
        server_header=False,
        ws="none",
        proxy_headers=False,
        timeout_graceful_shutdown=10,
        h11_max_incomplete_event_size=32 << 10,
    )
    uvicorn.Server(config).run()
    return 0
