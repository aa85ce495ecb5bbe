"""Copying: are generated images training images in disguise?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calotype.diagnose.check import Check, Findings
from calotype.diagnose.generated import Generated
from calotype.diagnose.remedy import SHORTER, Remedy, changes, sets
from calotype.diagnose.verdict import LIKELY, Finding, Verdict, cannot_tell
from calotype.errors import UserError
from calotype.metrics.copying import Copying
from calotype.metrics.copying import copying as find_copies
from calotype.metrics.repeats import Twins, twins
from calotype.metrics.wording import space_in_words

NAME = "copying"
LEAST = 0.01  # share of copies from which on it is a FAIL
QUESTIONS = 10  # that a verdict shares its error rate with, at most
BLIND = 0.1  # share of copies that a PASS must have been able to see
ASKED = 2_000  # training images of which it is asked how often real images are the same
REMEDIES = (
    Remedy("more training images, without duplicates (`calotype data check`)"),
    changes("a smaller", "model.width"),
    changes("a smaller", "model.generator.width"),
    SHORTER,
    sets({"data.flip": True}, " (not for digits or text)"),
    sets({"optimizer.weight_decay": 0.01, "optimizer.name": "adamw"}),
)


@dataclass(frozen=True)
class Nearby:
    """Generated images whose nearest real image is a training image, closest first."""

    generated: NDArray[np.int64]
    train: NDArray[np.int64]  # places among `ReferenceSet.whole`
    distance: NDArray[np.float64]
    features: str  # the space in which they are close


@dataclass(frozen=True)
class Search:
    """What a search for copies came to."""

    findings: Findings
    nearby: Nearby | None  # what is most like a copy: where images are the same as training images, these


def search(made: Generated) -> Search:
    """Look for training images among the generated ones: the same ones, and such as are too close to them."""
    pixels, confirm, against = made.pixels, made.confirm, made.against
    train, held = against.whole, against.holdout
    found = twins(pixels, confirm.features, train.images.pixels, train.confirm.features)
    asked = np.sort(np.random.default_rng([made.seed, 6]).permutation(len(train))[:ASKED])
    pool = (train.images.pixels, train.confirm.features)
    real = [_count(twins(pool[0][asked], pool[1][asked], *pool, own=asked))]
    if len(held):
        of_held, more = _count(twins(held.images.pixels, held.confirm.features, *pool)), against.overlap
        real.append(CopyCount(of_held.twins + more, of_held.images + more))
    # a holdout that was freed of such images would show all of them as copies
    rows = np.flatnonzero(~found.found) if against.overlap else np.arange(len(pixels))
    closer, nearby = _closer(made, rows)
    findings = [same(_count(found), max(real, key=lambda count: count.share), closer)]
    if found.found.any():
        rows = np.flatnonzero(found.found)
        far = np.linalg.norm(confirm.features[rows] - train.confirm.features[found.index[rows]], axis=1)
        order = np.argsort(~found.exact[rows], kind="stable")
        nearby = Nearby(rows[order], found.index[rows][order], far[order], against.confirm.label)
    return Search([*findings, *([closer] if isinstance(closer, Finding) else [])], nearby)


def _count(found: Twins) -> CopyCount:
    return CopyCount(int(found.found.sum()), len(found.index), int(found.exact.sum()), len(np.unique(found.index[found.found])))


def _closer(made: Generated, rows: NDArray[np.int64]) -> tuple[Finding | Verdict, Nearby | None]:
    """Whether training images are nearer to some generated ones than held-out ones are, and the nearest of them."""
    train, held = made.against.train, made.against.holdout
    if not len(held):
        return cannot_tell(NAME, "There are no held-out images to compare with: name some with `holdout`."), None
    space, confirm = made.against.spaces[0], made.against.confirm
    try:
        first = find_copies(made.drawn[0].features[rows], train.features[0].features, held.features[0].features, made.seed)
        again = find_copies(made.confirm.features[rows], train.confirm.features, held.confirm.features, made.seed)
    except UserError as error:
        return cannot_tell(NAME, str(error)), None
    nearby = Nearby(again.generated, made.against.in_whole(again.train), again.distances, confirm.label)
    return copying(first, again, (space_in_words(space.label), space_in_words(confirm.label)), made.files), nearby


@dataclass(frozen=True)
class CopyCount:
    """How many of some images are the same, or nearly the same, as a training image."""

    twins: int
    images: int
    exact: int = 0  # of the twins, pixel for pixel
    originals: int = 0  # different training images among those that they are twins of

    @property
    def share(self) -> float:
        """Of the images."""
        return self.twins / max(1, self.images)


def same(made: CopyCount, real: CopyCount, closer: Finding | Verdict) -> Finding:
    """Whether generated images are training images, pixel for pixel or nearly so, more often than other ``real`` images are.

    The reals are training images, each beside all others, or held-out ones: a data set may hold its images twice. By Fisher's exact
    test; FAIL from 1% more. That none is the same says nothing of copies that were altered: a PASS takes ``closer``, the finding of
    `copying`, to be able to see such.
    """
    n, m = made.images, real.images
    of_n = _tails(n, m, real.twins)
    seen = np.flatnonzero(of_n < LIKELY / QUESTIONS)
    unable = closer.says if isinstance(closer, Verdict) else closer.says["CANNOT TELL"] if _blind(closer) else ""
    none = "No generated image is the same as a training image"
    few = none if not made.twins else "No more generated images are the same as training images than other real images are"
    how = f"{made.exact:,} pixel for pixel" if made.exact < made.twins else "pixel for pixel"
    return Finding(
        NAME,
        effect=max(0.0, made.share - real.share),
        warn=1e-9,
        fail=LEAST,
        blind=0.0 if unable else BLIND,
        p=float(of_n[made.twins]),
        detectable=max(0.0, seen[0] / n - real.share) if len(seen) else 1.0,
        says={
            "PASS": f"{few}.",
            "CANNOT TELL": _full(real) if made.twins and not len(seen) else f"{few}. Copies that were altered could not be seen. {unable}",
            "FAIL": f"{made.twins:,} of {n:,} generated images are training images, the same or nearly so.",
        },
        evidence=(
            f"{made.twins:,} of {n:,} generated images are the same as a training image or its mirror image, {how} or but for less than a "
            f"tenth of their contrast: {made.originals:,} different ones. So are {real.twins:,} of {m:,} other real images."
            if made.twins
            else f"None of {n:,} generated images is the same as a training image or its mirror image, nor differs by less than a tenth of "
            f"its contrast; of other real images {real.twins:,} of {m:,} do. Images of one color are nobody's copies."
        ),
        measure="share of copies among the generated images, beyond that among other real ones",
        remedies=REMEDIES,
        data={"copies": made.twins, "exact": made.exact},
    )


def _tails(n: int, m: int, real: int) -> NDArray[np.float64]:
    """The probability of k or more twins among n images, where the real ones have so many among m, for k = 0 to n."""
    from scipy.stats import hypergeom

    k = np.arange(n + 1)
    return np.asarray(hypergeom.sf(k - 1, n + m, k + real, n), np.float64)


def _blind(found: Finding) -> bool:
    return found.detectable is not None and found.blind is not None and found.detectable > found.blind


def _full(real: CopyCount) -> str:
    return f"The real images repeat each other so much ({real.twins:,} of {real.images:,}) that copies cannot be told from them."


def copying(first: Copying, second: Copying, spaces: tuple[str, str], files: bool = False) -> Finding:
    """Whether the images closest to real ones are closest to training images more often than chance allows, in two feature spaces.

    Both must see it: the p-value is the larger of the two. FAIL from 1% of copies. Where not even 10% would show, there is no verdict.
    ``files`` says whether nothing is known of the images but the files.
    """
    more = "put more of them into the folder" if files else "judge more with a larger `count` of `calotype evaluate`"
    weaker = max(first, second, key=lambda c: c.p)
    return Finding(
        NAME,
        effect=max(0.0, min(first.effect.value, second.effect.value)),
        warn=1e-9,
        fail=LEAST,
        blind=BLIND,
        p=weaker.p,
        detectable=max(1.0 if c.detectable is None else c.detectable for c in (first, second)),
        says={
            "PASS": "No sign that generated images are closer to training images than to images that the model never saw.",
            "CANNOT TELL": f"Too few images to see copies: {more}, or name more unseen real images with its `holdout`.",
            "FAIL": "Some generated images are copies, or near copies, of training images.",
        },
        evidence=" ".join(_closest(c, space) for c, space in zip((first, second), spaces, strict=True)),
        measure="share of copies among the generated images, as far as both ways of looking agree",
        remedies=REMEDIES,
    )


def _closest(found: Copying, space: str) -> str:
    """What one way of looking sees."""
    much = f"about {100 * found.effect.value:.1f}% of all would be copies" if found.p < LIKELY else "no more than chance explains"
    return (
        f"Judged by {space}, {100 * found.share:.0f}% of the generated images that are closest to real ones have a training image as "
        f"their nearest, and by chance {100 * found.expected:.0f}% would: {much} (p = {found.p:.2g})."
    )


COPYING = Check(
    NAME,
    question="Are its images new, not copied from the training set?",
    about="Generated images that are training images, or nearly so. The same image, its mirror image and slight changes are found by "
    "comparing pixels; altered copies take held-out images to be seen.",
    of=Generated,
    run=lambda made: made.once(search).findings,
    measures="generated images that are a training image or its mirror image, or differ by less than a tenth of their contrast, beyond "
    "what other real images do; and whether the generated images nearest to real ones are nearer to training images than to held-out "
    "ones, by random labelings, in two feature spaces",
    limits="any share / 1%; p < .05 / p < .01, of the second in both spaces",
    remedies=REMEDIES,
    of_files=(Remedy("train what made them on more images, without repeats: `calotype data check` finds these"),),
    shows="copies",
)
