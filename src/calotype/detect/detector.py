"""A detector, and the folder that it is kept in: ``config.json`` and ``detector.safetensors``. Nothing in them runs as code."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as tensor_bytes

from calotype.data.images import Pixels
from calotype.detect.compression import Compression
from calotype.detect.judge import LinearJudge
from calotype.detect.judging import Numbers
from calotype.detect.results import DetectorFacts
from calotype.errors import DamagedError, UserError
from calotype.files import absent, expanded, obstacle, read_bytes, read_json, write_atomic, write_json
from calotype.metrics.residuals import GROUPS, residual_features
from calotype.settings import checked

CONFIG, TENSORS = "config.json", "detector.safetensors"
LARGEST = 512 << 20  # bytes of the tensors
WANTED = "the folder of a detector, made by calotype detect train REAL GENERATED"


@dataclass(frozen=True)
class Detector:
    """A trained detector: what is known of it, and its tensors."""

    facts: DetectorFacts
    judge: LinearJudge

    def numbers(self, images: Sequence[tuple[Image.Image, Compression]]) -> Numbers:
        """What it makes of images (mode L or RGB), each with the compression of its file."""
        pixels = np.stack([self.facts.equalizer(image, own) for image, own in images])
        return Numbers.of(self.judge, residual_features(pixels, self.facts.groups))

    def save(self, folder: str | Path) -> Path:
        """Write it into a folder, which is made where it is missing; returns the folder. Raises `UserError` where that cannot be."""
        place = Path(folder)
        require_folder(place)
        place.mkdir(parents=True, exist_ok=True)
        data = tensor_bytes(self.judge.tensors())
        write_atomic(place / TENSORS, lambda stream: stream.write(data))
        write_json(place / CONFIG, asdict(replace(self.facts, tensors=digest(data))))  # last: without it there is no detector
        return place


def digest(data: bytes) -> str:
    """The SHA-256 of the tensors of a detector, by which its facts know them: limits of one judge are nothing to another."""
    return hashlib.sha256(data).hexdigest()


def require_folder(place: Path) -> None:
    """Raise `UserError` where a detector cannot be written, before there is one; a folder of something else is left alone."""
    if reason := obstacle(place, folder=True):
        raise UserError(f"cannot write a detector into {place}: {reason}; choose another `out`")
    if place.is_dir() and any(place.iterdir()):
        with suppress(UserError):
            if read_json(place / CONFIG).get("kind") == "detector":
                return
        raise UserError(f"{place} holds other things than a detector: choose another `out`")


def load(folder: str | Path) -> Detector:
    """The detector in a folder.

    Raises:
        UserError: where there is none.
        DamagedError: where there is one that this version did not write.
    """
    place = expanded(folder)
    if not place.exists():
        raise UserError(absent(place, WANTED))
    if not (place / CONFIG).is_file() or not (place / TENSORS).is_file():
        raise UserError(f"{place} is no detector: give {WANTED}")
    raw = read_json(place / CONFIG)
    if raw.get("kind") != "detector":
        raise UserError(f"{place} is no detector: give {WANTED}")
    try:
        facts = checked(DetectorFacts, raw)
        _require_sound(facts)
        data = read_bytes(place / TENSORS, LARGEST)
        if digest(data) != facts.tensors:
            raise DamagedError("its tensors are not those that its limits were chosen for: train it again")
        judge = LinearJudge.of(parse_tensors(data), 1 + len(facts.generated))
        seen = residual_features(_blank(facts), facts.groups).shape[1]
        if len(judge.center) != seen:
            raise DamagedError(f"its tensors are for {len(judge.center)} features, and it looks at {seen}")
    except OSError as error:
        raise UserError(f"{place / TENSORS} cannot be read ({error.strerror or error})") from None
    except (UserError, ValueError, SafetensorError) as error:
        raise DamagedError(f"the detector in {place} is damaged or from another version ({str(error).splitlines()[0]})") from None
    return Detector(facts, judge)


def _require_sound(facts: DetectorFacts) -> None:
    """Raise `DamagedError` for what each setting by itself does not tell."""
    if odd := next((name for name in facts.groups if name not in GROUPS), None):
        raise DamagedError(f"it looks at {odd}, which is unknown")
    if len(set(facts.groups)) < len(facts.groups):
        raise DamagedError("it looks at the same features twice")
    if len(facts.limits.unlike) != 1 + len(facts.generated):
        raise DamagedError("it has not one limit for each set")
    for name in ("last", "soft"):
        ends = getattr(facts.equalizer, name)
        if ends is not None and ends[0] > ends[1]:
            raise DamagedError(f"{name} ends before it begins: {ends[0]:g} to {ends[1]:g}")


def _blank(facts: DetectorFacts) -> Pixels:
    """One black image in the shape that the detector looks at."""
    one = facts.equalizer
    return np.zeros((1, one.size, one.size, one.channels), np.uint8)


__all__ = ["Detector", "load", "require_folder"]
