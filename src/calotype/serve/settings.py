"""What a service is told when it starts: models, places, the address, and the limits of what anybody may ask of it."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from calotype.errors import SettingError

Logged = Literal["all", "errors", "none"]
PORT = 8420
LOOPBACK = ("localhost", "127.0.0.1", "::1")
LEAST_TOKEN = 16  # characters: fewer could be guessed


@dataclass(frozen=True)
class Settings:
    """Of one service. Limits hold for each request, unless they say otherwise.

    Raises:
        SettingError: for an address that others reach without a token, and for a token that could be guessed.
    """

    models: tuple[Path, ...] = ()  # runs, model/ folders, and folders of detectors
    runs: Path | None = None  # the folder of runs, where there is one to show
    state: Path | None = None  # where jobs and the gallery are kept; None in memory alone
    sources: Mapping[str, Path] = field(default_factory=dict)  # images that trainings may be started on by name, besides the embedded sets
    host: str = "127.0.0.1"
    port: int = PORT
    names: tuple[str, ...] = ()  # host names by which the service is reached besides its address, as behind a reverse proxy
    token: str = ""  # that every request has to show; empty on loopback alone
    device: str = "auto"
    opened: int = 8  # models in memory at once; those that are being used besides
    max_body: int = 32 << 20  # bytes of a request
    max_pixels: int = 16 << 20  # of an image that is given, and of one that is made
    max_images: int = 64  # that are asked for at once
    max_steps: int = 250  # of a sampler
    max_waiting: int = 256  # requests that wait for a model at once, all together: more are told to come again
    max_seconds: float = 60.0  # of work for one request
    workers: int = 1  # processes for jobs
    queue: int = 64  # jobs that wait
    job_seconds: float = 3600.0
    trainings: int = 2  # at once
    training_minutes: float = 1440.0  # that one may be asked to take
    streams: int = 64  # of events at once
    gallery_bytes: int = 1 << 30
    gallery_items: int = 10_000
    log: Logged = "errors"  # requests that get a line on stderr

    def __post_init__(self) -> None:
        if self.token and (len(self.token) < LEAST_TOKEN or not self.token.isascii() or not self.token.isprintable() or " " in self.token):
            raise SettingError(
                f"`token` has to be {LEAST_TOKEN} characters or more of ASCII without spaces, such as {secrets.token_urlsafe(24)}", "token"
            )
        if not self.token and not loopback(self.host):
            raise SettingError(
                f"`host={self.host}` lets other machines in: give a `token` that they have to show, or leave `host` out", "host", "loopback"
            )

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def known_hosts(self) -> frozenset[str]:
        """The host names that requests may be addressed to."""
        return frozenset(name.lower() for name in (*self.names, *LOOPBACK, self.host))

    def knows(self, host: str) -> bool:
        """Whether requests may be addressed to a host: one of `known_hosts`; an address in numbers, too, where others are let in.

        Only a name can be pointed to this machine by somebody else.
        """
        return host in self.known_hosts or (not loopback(self.host) and _in_numbers(host))


def _in_numbers(host: str) -> bool:
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
