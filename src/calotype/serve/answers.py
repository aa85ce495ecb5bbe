"""What a model answers, before it becomes JSON or bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from calotype.serve.images import text_of


@dataclass
class Made:
    """An answer: files of images with what is to be said of each, and what is to be said besides."""

    files: list[bytes] = field(default_factory=list)
    facts: list[dict[str, Any]] = field(default_factory=list)  # of each file
    more: dict[str, Any] = field(default_factory=dict)

    def as_json(self, kept: Sequence[str | None] = ()) -> dict[str, Any]:
        """The answer as the service gives it; ``kept`` are the ids of the images in the gallery."""
        if not self.files:
            return self.more
        ids = list(kept) or [None] * len(self.files)
        rows = zip(self.files, self.facts, ids, strict=True)
        return {"images": [{"image": text_of(data), **facts, "gallery": id} for data, facts, id in rows], **self.more}
