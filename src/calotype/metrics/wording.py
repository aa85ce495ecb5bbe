"""Numbers and feature spaces as people read them."""

from __future__ import annotations

import math
import re

NEAR = " together; two real images: 1"
"""What follows the spaces in which distances were taken all together."""


def space_in_words(label: str) -> str:
    """What looked at images, for people, from the label that scores carry.

    >>> space_in_words("digits@1a2b3c4d, penultimate, 64"), space_in_words("random1@1a, pooled, 64")
    ('the digits recognizer', 'a random network')
    >>> space_in_words("mean of random1@1a, pooled, 64, random2@2b, pooled, 64, random3@3c, pooled, 64")
    'three random networks'
    >>> space_in_words("random1@1a, random2@2b, coarse@3c together; two real images: 1")
    'two random networks and coarse pictures together (1 is usual between two real images)'
    """
    if NEAR in label:
        parts = label.partition(NEAR)[0].split(", ")
        random = [part for part in parts if re.match(r"random\d+@", part)]
        told = [space_in_words(f"mean of {', '.join(random)}")] if random else []
        told += [space_in_words(part) for part in parts if part not in random]
        return " and ".join(filter(None, (", ".join(told[:-1]), told[-1]))) + " together (1 is usual between two real images)"
    names = re.findall(r"(?:^|, )([^,@]+)@[0-9a-f]+", label.removeprefix("mean of "))
    if len(names) > 1 and all(re.fullmatch(r"random\d+", name) for name in names):
        return f"{ {2: 'two', 3: 'three'}.get(len(names), len(names)) } random networks"
    if len(names) != 1:
        return "the pixels themselves" if label == "pixels" else label
    known = {"digits": "the digits recognizer", "coarse": "coarse pictures", "inception": "Inception v3", "dinov2": "DINOv2"}
    known |= {"photos": "features of photographs", "photos-full": "features of photographs"}
    return "a random network" if re.fullmatch(r"random\d+", names[0]) else known.get(names[0], f"the classifier {names[0]}")


def number(value: float | None) -> str:
    """A number for people: three significant digits, no exponent where that can be avoided.

    >>> [number(v) for v in (0.12345, 1234.5, 0.0, 0.00001234, None, float("nan"))]
    ['0.123', '1,234', '0', '1.23e-05', 'unknown', 'unknown']
    """
    if value is None or not math.isfinite(value):
        return "unknown"
    if 1000 <= abs(value) < 1e9:
        return f"{value:,.0f}"
    return f"{value:.3g}"
