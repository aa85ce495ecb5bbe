"""Public data sets: their addresses and hashes, fetched once into a cache folder, a broken download continued where it stopped."""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calotype.data.idx_cifar import CIFAR10_CLASSES
from calotype.data.images import Progress
from calotype.data.reading import first_line
from calotype.errors import UserError
from calotype.files import not_linked

_ATTEMPTS = 3  # connections that may break off before an address is given up
_TIMEOUT = 30.0  # seconds without a byte
_LARGEST = 2**30  # bytes of a file, of which the largest has 170 MB: what never ends does not fill the disk


@dataclass(frozen=True)
class Remote:
    """A file to fetch."""

    name: str
    hash: str  # "md5:..." or "sha256:..."
    urls: tuple[str, ...]  # tried in order


@dataclass(frozen=True)
class PublicSet:
    """A data set that can be fetched, or found in a folder with its original files."""

    files: tuple[Remote, ...]
    classes: tuple[str, ...]


def _idx_files(bases: tuple[str, ...], hashes: dict[str, str]) -> tuple[Remote, ...]:
    return tuple(Remote(name, mark, tuple(base + name for base in bases)) for name, mark in hashes.items())


_FASHION = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
PUBLIC: dict[str, PublicSet] = {
    "mnist": PublicSet(
        _idx_files(
            ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
            {
                "train-images-idx3-ubyte.gz": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
                "train-labels-idx1-ubyte.gz": "md5:d53e105ee54ea40749a09fcbcd1e9432",
                "t10k-images-idx3-ubyte.gz": "md5:9fb629c4189551a2d022fa330f9573f3",
                "t10k-labels-idx1-ubyte.gz": "md5:ec29112dd5afa0611ce80d1b7f02629c",
            },
        ),
        tuple("0123456789"),
    ),
    "fashion-mnist": PublicSet(
        _idx_files(
            (
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
            ),
            {
                "train-images-idx3-ubyte.gz": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                "train-labels-idx1-ubyte.gz": "md5:25c81989df183df01b3e8a0aad5dffbe",
                "t10k-images-idx3-ubyte.gz": "md5:bef4ecab320f06d8554ea6380940ec79",
                "t10k-labels-idx1-ubyte.gz": "md5:bb300cfdad3c16e7a12a480ee83cd310",
            },
        ),
        _FASHION,
    ),
    "cifar10": PublicSet(
        (
            Remote(
                "cifar-10-python.tar.gz",
                "md5:c58f30108f718f92721af3b95e74349a",
                ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
            ),
        ),
        CIFAR10_CLASSES,
    ),
}


def fetch(name: str, files: tuple[Remote, ...], cache: Path, progress: Progress | None = None) -> Path:
    """The folder with the files of a data set, downloaded where they are not yet there and verified against their hashes.

    Raises:
        UserError: If a file cannot be had, with the way to supply it by hand.
    """
    folder = cache / name
    for remote in files:
        reasons = []
        for url in remote.urls:
            try:
                _retrieve(remote, url, folder, progress)
                break
            except (OSError, ValueError, http.client.HTTPException) as error:
                reasons.append(f"{url}: {first_line(error)}")
        else:
            wanted = ", ".join(file.name for file in files)
            by_hand = f"put {wanted} into a folder and name that instead"
            raise UserError(f"could not download {remote.name} ({'; '.join(reasons)}): try again to continue, or {by_hand}")
    return folder


def _retrieve(remote: Remote, url: str, folder: Path, progress: Progress | None) -> None:
    """Fetch one file through pooch, which verifies it and moves it into place only when it is right."""
    import pooch  # heavy, and needed by downloads alone

    pooch.get_logger().setLevel("ERROR")
    part = folder / f"{remote.name}.part"

    def download(address: str, output: Any, _: Any) -> None:
        continue_download(address, part, progress)
        part.replace(output)

    pooch.retrieve(url, remote.hash, fname=remote.name, path=folder, downloader=download)


def continue_download(url: str, part: Path, progress: Progress | None = None) -> None:
    """Download to ``part``, going on behind the bytes that are already there.

    Raises ``OSError`` when it breaks off too often, and ``ValueError`` where the server sends what no data set is.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(part):
        open(part, "rb", opener=not_linked).close()  # before anything is asked for
    error: Exception | None = None
    for _ in range(_ATTEMPTS):
        try:
            if _attempt(url, part, progress):
                return
            error = OSError("the connection broke off")
        except urllib.error.HTTPError as problem:
            if problem.code == 416:  # what is there is not the beginning of what the server has
                part.unlink(missing_ok=True)
            elif problem.code < 500:
                raise
            error = problem
        except (OSError, http.client.HTTPException) as problem:
            error = problem
        except ValueError:
            part.unlink(missing_ok=True)
            raise
    raise OSError(str(error))


def _attempt(url: str, part: Path, progress: Progress | None) -> bool:
    """One connection; whether the file is whole after it."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "calotype"} | ({"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT) as answer:
        if have and (answer.status != 206 or not (answer.headers.get("Content-Range") or "").startswith(f"bytes {have}-")):
            have = 0  # the server sends everything again
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        with open(part, "ab" if have else "wb", opener=not_linked) as file:
            while block := answer.read(1 << 18):
                file.write(block)
                have += len(block)
                if have > _LARGEST:
                    raise ValueError(f"the server sends more than {_LARGEST >> 20:,} MiB")
                if progress is not None and total:
                    progress(have, total)
    return total is None or have == total
