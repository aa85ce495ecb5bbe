"""``calotype selftest``."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Annotated

import tyro

from calotype.cli.parse import parse
from calotype.cli.shell import Shell
from calotype.selftest.measure import selftest, table
from calotype.settings import Channels, Count, ImageSize, Seed


@dataclass(frozen=True)
class Options:
    """Measure what the verdicts see and miss: plant each failure into real images and count the alarms.

    Example:
    calotype selftest --data photos/ --size 64 --trials 20
    """

    data: str = "mnist5k"  # any source that calotype train takes
    size: Annotated[ImageSize | None, tyro.conf.arg(metavar="PIXELS")] = None  # the source's own where none is given
    channels: Channels | None = None  # 1 or 3; the source's own where none is given
    count: Count | None = None  # images that play the generated ones; 1,000 where none is given, or a third of them
    trials: Count = 20  # random divisions of the images
    features: str | None = None  # as for calotype evaluate
    labels: bool = True  # whether the verdicts know the classes of the images
    images: Count | None = None  # of the source that are used; all where none is given
    only: tuple[str, ...] = ()  # words in the names of the failures to plant, such as missing copies; all where none are given
    seed: Seed = 0  # of the divisions and of everything random in the failures
    json: bool = False  # print the result as JSON


def run(words: list[str]) -> int:
    """Test; prints the share of alarms of each verdict for each planted failure."""
    options = parse(Options, words, "calotype selftest")
    with closing(Shell()) as display:
        rows = selftest(
            options.data,
            count=options.count,
            trials=options.trials,
            size=options.size,
            channels=options.channels,
            features=options.features,
            labels=options.labels,
            images=options.images,
            only=options.only,
            seed=options.seed,
            say=display.show,
        )
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        print(f"alarms (WARN or FAIL) in {options.trials} trials\n\n{table(rows)}")
    return 0
