"""What was made and kept: pictures with the requests that make them again, to the last bit."""

from __future__ import annotations

import io
import json
import re
import secrets
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calotype.errors import CalotypeError, DamagedError, UserError, printable
from calotype.files import not_linked, obstacle, write_atomic
from calotype.serve.job_store import connect, iso, transaction
from calotype.serve.refusal import ConflictError, UnknownError

if TYPE_CHECKING:
    from calotype.serve.shelf import Held

MOST = 10_000  # pictures
SHOWN = 512  # characters of a text in a request that lists show: images in base64 are longer, and left out there

_TABLE = """
CREATE TABLE IF NOT EXISTS pictures (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    made REAL NOT NULL,
    bytes INTEGER NOT NULL,
    facts TEXT NOT NULL,
    request TEXT NOT NULL,
    brief TEXT
);
"""
_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class GalleryItem:
    """A picture that was kept."""

    number: int  # the later, the larger
    id: str
    made: float  # seconds since 1970
    facts: dict[str, Any]  # width, height, model_name, recipe, weights, seed, index, label, provenance
    request: dict[str, Any]  # ability, model, body, index: which image of the answer it is

    def public(self) -> dict[str, Any]:
        """What a client is told of it."""
        return {"id": self.id, "made": iso(self.made), **self.facts, "request": self.request}


class Gallery:
    """Pictures in a folder, with an SQLite database of how they were made.

    Args:
        folder: Of ``gallery.sqlite3`` and the pictures.
        most_bytes: Of all pictures and requests together.
        most: Pictures.

    Raises:
        UserError: where the folder cannot be written.
    """

    def __init__(self, folder: Path, most_bytes: int = 1 << 30, most: int = MOST) -> None:
        if reason := obstacle(folder, folder=True):
            raise UserError(f"cannot keep pictures in {folder}: {reason}; choose another `state`")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.most_bytes, self.most = folder, most_bytes, most
        self._lock = threading.RLock()
        self._db = connect(folder / "gallery.sqlite3", _TABLE)
        self._abridge()
        self._sweep()

    def keep(
        self, held: Held, ability: str, body: Mapping[str, Any], files: Sequence[bytes], places: Sequence[int] | None = None
    ) -> list[str]:
        """Keep the images (PNG files) that a model made of a request, or those in ``places`` of the answer; returns their ids.

        Raises:
            ConflictError: where there is no room for all of them: none is kept then.
        """
        chosen = range(len(files)) if places is None else places
        rows = [self._row(held, ability, body, files[place], place) for place in chosen]
        size = sum(row[2] for row in rows)
        written: list[Path] = []
        try:
            with self._lock, transaction(self._db) as db:
                count, held_bytes = db.execute("SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM pictures").fetchone()
                if count + len(rows) > self.most or held_bytes + size > self.most_bytes:
                    raise ConflictError(
                        f"the gallery is full ({count:,} pictures of {held_bytes / 1e6:,.0f} MB): delete some to make room for more"
                    )
                for place, row in zip(chosen, rows, strict=True):
                    written.append(self._place(row[0]))
                    write_atomic(written[-1], lambda stream, place=place: stream.write(files[place]))  # type: ignore[misc]
                    db.execute("INSERT INTO pictures (id, made, bytes, facts, request, brief) VALUES (?, ?, ?, ?, ?, ?)", row)
        except BaseException:
            for path in written:
                path.unlink(missing_ok=True)
            raise
        return [row[0] for row in rows]

    def get(self, id: str) -> GalleryItem:
        """A picture by its id. Raises `UnknownError`."""
        with self._lock:
            row = self._db.execute("SELECT number, id, made, facts, request FROM pictures WHERE id = ?", (id,)).fetchone()
        if row is None:
            raise _unknown()
        return _item(row)

    def newest(self, count: int, before: str | None = None) -> list[GalleryItem]:
        """The pictures that were kept last, the newest first, or those kept before another one, without the images in their requests.

        Raises:
            UnknownError: where there is no such other one.
        """
        number = 2**62 if before is None else self._number(before)
        query = "SELECT number, id, made, facts, brief FROM pictures WHERE number < ? ORDER BY number DESC LIMIT ?"
        with self._lock:
            rows = self._db.execute(query, (number, count)).fetchall()
        return [_item(row) for row in rows]

    def usage(self) -> dict[str, int]:
        """How much is kept, and how much may be."""
        with self._lock:
            count, size = self._db.execute("SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM pictures").fetchone()
        return {"pictures": int(count), "bytes": int(size), "most_pictures": self.most, "most_bytes": self.most_bytes}

    def image(self, id: str) -> bytes:
        """The file of a picture. Raises `UnknownError`."""
        self._number(id)
        place = self._place(id)
        try:
            with open(place, "rb", opener=not_linked) as stream:
                return stream.read()
        except OSError:
            raise UnknownError("the file of this picture is gone: delete it, or make it again") from None

    def delete(self, id: str) -> None:
        """Remove a picture. Raises `UnknownError`."""
        self._number(id)
        with self._lock, transaction(self._db) as db:
            db.execute("DELETE FROM pictures WHERE id = ?", (id,))
        self._place(id).unlink(missing_ok=True)

    def same(self, id: str, data: bytes) -> bool:
        """Whether a picture that was made again has the very pixels of the one that is kept. Raises `UnknownError`."""
        return _pixels(self.image(id)) == _pixels(data)

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._db.close()

    def _number(self, id: str) -> int:
        """The number of a picture. Raises `UnknownError`."""
        with self._lock:
            row = self._db.execute("SELECT number FROM pictures WHERE id = ?", (id,)).fetchone()
        if row is None:
            raise _unknown()
        return int(row[0])

    def _place(self, id: str) -> Path:
        assert _ID.fullmatch(id), "ids are made here"
        return self.folder / f"{id}.png"

    def _row(self, held: Held, ability: str, body: Mapping[str, Any], file: bytes, place: int) -> tuple[str, float, int, str, str, str]:
        """The row of a picture, with a request for it alone where its model draws each image by itself."""
        if ability == "sample":
            body, place = {**body, "n": 1, "index": body.get("index", 0) + place}, 0
        asked = {"ability": ability, "model": held.id, "body": dict(body), "index": place}
        request, brief = json.dumps(asked), json.dumps(_brief(asked))
        facts = {"model_name": held.name, "recipe": held.facts.get("recipe"), "weights": held.facts["sha256"], **_told(file)}
        said = json.dumps(facts)
        return secrets.token_hex(8), time.time(), len(file) + len(request) + len(said), said, request, brief

    def _abridge(self) -> None:
        """Give the pictures of an earlier version what lists show of them, one after another."""
        with self._lock, transaction(self._db) as db:
            if "brief" not in {row[1] for row in db.execute("PRAGMA table_info(pictures)")}:
                db.execute("ALTER TABLE pictures ADD COLUMN brief TEXT")
            for (number,) in db.execute("SELECT number FROM pictures WHERE brief IS NULL").fetchall():
                (request,) = db.execute("SELECT request FROM pictures WHERE number = ?", (number,)).fetchone()
                db.execute("UPDATE pictures SET brief = ? WHERE number = ?", (json.dumps(_brief(json.loads(request))), number))

    def _sweep(self) -> None:
        """Remove files that a kill left without a row, or half-written."""
        with self._lock:
            known = {row[0] for row in self._db.execute("SELECT id FROM pictures")}
        for path in [*self.folder.glob("*.png"), *self.folder.glob(".*.tmp")]:
            if path.stem not in known and (path.suffix == ".tmp" or _ID.fullmatch(path.stem)):
                with suppress(OSError):
                    path.unlink()


def _item(row: sqlite3.Row | tuple[Any, ...]) -> GalleryItem:
    return GalleryItem(row[0], row[1], row[2], json.loads(row[3]), json.loads(row[4]))


def _told(file: bytes) -> dict[str, Any]:
    """What a picture says of itself: its size, and all that its marker has."""
    from PIL import Image

    from calotype.provenance.embed import origin_of
    from calotype.tasks.trace import facts_of

    with Image.open(io.BytesIO(file), formats=["PNG"]) as picture:
        said: dict[str, Any] = {}
        with suppress(CalotypeError, DamagedError):
            origin = origin_of(picture)
            said = {} if origin is None else facts_of(origin.marker)
        width, height = picture.size
    label = said.get("label")
    return {
        "width": width,
        "height": height,
        "seed": said.get("seed"),
        "number": said.get("index"),
        "label": None if label is None else printable(str(label)),
        "provenance": said,
    }


def _pixels(file: bytes) -> tuple[str, tuple[int, int], bytes]:
    from PIL import Image

    with Image.open(io.BytesIO(file), formats=["PNG"]) as picture:
        return picture.mode, picture.size, picture.tobytes()


def _brief(request: Mapping[str, Any]) -> dict[str, Any]:
    """A request without its long texts."""
    body = request["body"].items()
    return {**request, "body": {name: None if isinstance(value, str) and len(value) > SHOWN else value for name, value in body}}


def _unknown() -> UnknownError:
    return UnknownError("there is no such picture: GET /v1/gallery lists them")
