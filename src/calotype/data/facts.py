"""What the header of a prepared file says, checked against itself and against the length of the file before any of it is believed."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, ValidationError

from calotype.data.images import Skipped, distinct
from calotype.errors import DamagedError, printable
from calotype.files import JSON_BYTES, parse_json, safe_name

VERSION = 1
START = 4096  # of the pixels: a page boundary
BYTES = JSON_BYTES  # of the longest header
Natural = Annotated[int, Field(ge=0, lt=2**48)]
AnyText = InstanceOf[str]  # also what is no UTF-8, as names of folders may be
Extent = Annotated[int, Field(ge=1, lt=2**48)]


class _Entry(BaseModel):
    """A file that was left out."""

    model_config = ConfigDict(strict=True, frozen=True)
    name: AnyText
    reason: AnyText


class PreparedHeader(BaseModel):
    """The header. Names in it come from outside; `title`, `shown` and `skipped` are what may be printed and made into names of files."""

    model_config = ConfigDict(strict=True, frozen=True)
    version: Literal[1]
    name: AnyText
    shape: Annotated[list[Extent], Field(min_length=4, max_length=4)]  # (N, H, W, C)
    classes: list[AnyText]
    labels: Natural | None  # where they begin, in bytes; None where there are none
    digests: Natural  # where they begin
    files: Annotated[list[Natural], Field(min_length=2, max_length=2)] | None = None  # where the names of files begin, and their length
    fingerprint: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    holdout: Natural | None  # images at the beginning that the source itself holds out
    others: Natural = 0
    left_out: Annotated[list[_Entry], Field(alias="skipped")]
    tiles: list[Extent] | None = None  # the end of the tiles of each picture

    @property
    def title(self) -> str:
        """The name, fit for that of a folder."""
        return safe_name(self.name)

    @property
    def shown(self) -> tuple[str, ...]:
        """The names of the classes, fit to be printed."""
        return distinct(self.classes)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What could not be used when the file was written."""
        return tuple(Skipped(printable(entry.name), printable(entry.reason)) for entry in self.left_out)

    def check(self, end: int) -> None:
        """Raise ``DamagedError`` unless everything fits together and fills the file up to its header, which begins at byte ``end``."""
        count = self.shape[0]
        tables = START + math.prod(self.shape)
        tables += -tables % 64
        digests = tables + (0 if self.labels is None else 8 * count)
        files = digests + 32 * count
        length = 0 if self.files is None else self.files[1]
        if self.shape[1] != self.shape[2] or self.shape[3] not in (1, 3):
            raise DamagedError("its images have an impossible shape")
        if (
            self.labels not in (None, tables)
            or self.digests != digests
            or self.files not in (None, [files, length])
            or files + length != end
        ):
            raise DamagedError("its header does not fit what is there")
        if (self.labels is None) != (not self.classes):
            raise DamagedError("it has classes without labels, or labels without classes")
        if self.holdout is not None and self.holdout > count:
            raise DamagedError("it holds out more images than it has")
        ends = self.tiles
        if ends is not None and (not ends or ends[-1] != count or any(b <= a for a, b in pairwise(ends))):
            raise DamagedError("its tiles belong to no pictures")


def read_facts(text: bytes, end: int) -> PreparedHeader:
    """The header of a prepared file, which begins at byte ``end``. Raises ``DamagedError`` where anything of it is wrong."""
    try:
        facts = PreparedHeader.model_validate(parse_json(text))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise DamagedError(f"its header is wrong in {printable(field) or 'everything'}: {first['msg'].lower()}") from None
    except ValueError as error:
        raise DamagedError(f"its header is wrong: {error}") from None
    facts.check(end)
    return facts


def kept(skipped: list[Skipped]) -> list[dict[str, Any]]:
    """Files that were left out as the header has them: by name as far as a few million characters go, the rest as a number."""
    room, entries = BYTES // 16, []
    for index, entry in enumerate(skipped):
        room -= len(entry.name) + len(entry.reason)
        if room < 0:
            entries.append({"name": f"{len(skipped) - index:,} more files", "reason": "left out of this list"})
            break
        entries.append({"name": entry.name, "reason": entry.reason})
    return entries
