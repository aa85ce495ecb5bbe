"""The parts of a report that are looked at: pictures, curves, counts, spectra, the ladder of planted failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calotype.data import Images, Progress
from calotype.diagnose import planted
from calotype.diagnose.copies import Nearby
from calotype.evaluation import result
from calotype.evaluation.generator import Pixels
from calotype.metrics import spectrum as of_spectrum
from calotype.metrics.classes import Shares
from calotype.metrics.confidence import exact_interval
from calotype.metrics.features import Extracted
from calotype.metrics.frechet import FD, Line, Moments, frechet
from calotype.metrics.inputs import InSpace
from calotype.metrics.manifold import manifold_scores
from calotype.metrics.quality import PSNR
from calotype.metrics.real_images import ReferenceSet
from calotype.metrics.recognition import LOG_LOSS
from calotype.metrics.wording import space_in_words

SHOWN, NEIGHBORS, WORST = 64, 8, 6
QUIET = ("step", "images", "seconds", "images_per_second", "lr_scale", "holdout_images")  # columns of the log that are no curves


def ladder(against: ReferenceSet, seed: int, progress: Progress | None = None) -> tuple[result.LadderRow, ...]:
    """What planted failures do to the scores of real images."""
    rng, pixels = np.random.default_rng([seed, 11]), against.baseline.images.pixels
    rows: list[tuple[str, Pixels]] = [
        ("real images", pixels),
        ("blur of 1 pixel", planted.blur(pixels, 1.0)),
        ("noise of 10 levels", planted.noise(pixels, 10, rng)),
        ("halves exchanged", planted.swap(pixels, rng)),
        ("a tenth of the variety", planted.shrink(pixels, 0.1, rng)),
        ("5% copies of training images", planted.copies(pixels, against.train.images.pixels, 0.05, rng)),
    ]
    labels = labels_of(against)
    if labels is not None and len(np.unique(labels)) > 3:
        rows.insert(3, ("3 classes missing", planted.collapse(pixels, labels, 3, rng)))
    found = []
    for place, (name, damaged) in enumerate(rows, 1):
        found.append(result.LadderRow(name, _rung(against, damaged)))
        if progress is not None:
            progress(place, len(rows))
    return tuple(found)


def _rung(against: ReferenceSet, pixels: Pixels) -> dict[str, float]:
    parts = []
    for space, real in zip(against.spaces, against.reference.features, strict=True):
        x = space.of(pixels)
        fd = frechet(Moments.of(x.features), Moments.of(real.features))
        parts.append({FD.name: fd} | {name: e.value for name, e in manifold_scores(InSpace(x, real[against.reference.once])).items()})
    return {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}


def labels_of(against: ReferenceSet) -> NDArray[np.int64] | None:
    """Classes of the images of the baseline: their labels, or what the network takes them for."""
    beliefs = against.baseline.features[0].probabilities
    return against.baseline.images.labels if beliefs is None else beliefs.argmax(1)


def extrapolation(found: Sequence[Line]) -> result.Extrapolation:
    """The Frechet distance against 1/N, averaged over the spaces."""
    infinite, points = float(np.mean([value for value, _ in found])), np.mean([points for _, points in found], axis=0)
    sizes, values = points.T
    slope = float(np.polyfit(1 / sizes, values, 1)[0]) if len(points) > 1 else 0.0
    return result.Extrapolation(tuple((int(n), float(v)) for n, v in points), infinite, slope)


def pictures(
    shown: Pixels, drawn: Sequence[Extracted], confirm: Extracted, against: ReferenceSet, nearby: Nearby | None
) -> result.ReportImages:
    """Samples and reals, the first samples beside their nearest real images, and the pairs that look most like copies."""
    train, held, some = against.train, against.holdout, slice(0, NEIGHBORS)
    first = [space[some] for space in drawn]
    index, far = train.nearest(first, confirm[some], 1)
    rows = index[:, 0]
    around = result.Neighbors(
        shown[some],
        train.images.pixels[rows],
        train_distance=tuple(far[:, 0].tolist()),
        features=against.near,
        place=tuple(range(len(rows))),
        train_name=_names(train.images, rows),
    )
    if len(held):
        index, far = held.nearest(first, confirm[some], 1)
        unseen, names = held.images.pixels[index[:, 0]], _names(held.images, index[:, 0])
        around = replace(around, holdout=unseen, holdout_distance=tuple(far[:, 0].tolist()), holdout_name=names)
    worst = None
    if nearby is not None and len(nearby.generated):
        pairs = slice(0, WORST)
        worst = result.Neighbors(
            shown[nearby.generated[pairs]],
            against.whole.images.pixels[nearby.train[pairs]],
            train_distance=tuple(nearby.distance[pairs].tolist()),
            features=nearby.features,
            place=tuple(nearby.generated[pairs].tolist()),
            train_name=_names(against.whole.images, nearby.train[pairs]),
        )
    real = against.reference.images.pixels
    spaced = np.linspace(0, len(real) - 1, min(SHOWN, len(real))).astype(int)  # a folder's order is often by class
    return result.ReportImages(shown[:SHOWN], real[spaced], around, worst)


def _names(images: Images, rows: NDArray[np.int64]) -> tuple[str, ...]:
    return tuple(images.name_of(int(row)) for row in rows)


def curves(records: Sequence[Mapping[str, Any]]) -> result.TrainingCurves | None:
    """The training log as curves, with its events."""
    lines = [r for r in records if "event" not in r]
    series = []
    for name in lines[-1] if lines else ():
        rows = [(r["step"], r[name]) for r in lines if isinstance(r.get(name), int | float)]
        if rows and name not in QUIET:
            steps, values = zip(*rows, strict=True)
            series.append(result.Series(name, tuple(steps), tuple(values)))
    events = tuple(result.Event(int(r.get("step", 0)), _event(r), str(r["event"])) for r in records if "event" in r)
    return result.TrainingCurves(tuple(series), events) if series else None


def _event(record: Mapping[str, Any]) -> str:
    if record["event"] == "rollback":
        return f"went back to step {record.get('to')}"
    if record["event"] == "score" and isinstance(distance := record.get(FD.name), int | float):
        return f"scored {distance:.3g}" + (", the best so far" if record.get("best") else "")
    if record["event"] == "score" and isinstance(ratio := record.get(PSNR.name), int | float):
        return f"scored {ratio:.2f} dB" + (", the best so far" if record.get("best") else "")
    if record["event"] == "score" and isinstance(loss := record.get(LOG_LOSS.name), int | float):
        return f"log loss {loss:.3f}" + (", the best so far" if record.get("best") else "")
    return " ".join(str(record[key]) for key in ("name", "status") if key in record) or str(record["event"])


def classes(against: ReferenceSet, drawn: Sequence[Extracted], confirm: Extracted, shares: Shares | None) -> result.ClassCounts | None:
    """How often each class came out: counted, with exact intervals, where the network tells them, else their estimated ``shares``."""
    space, real, beliefs = against.spaces[0], against.train.features[0].probabilities, drawn[0].probabilities
    if beliefs is None or real is None or not space.classes:
        return _estimated(against, shares, len(confirm))
    generated, reals = (np.bincount(p.argmax(1), minlength=len(space.classes)) for p in (beliefs, real))
    intervals = tuple(exact_interval(hits, int(generated.sum())) for hits in generated.tolist())
    right = "" if space.accuracy is None else f", which is right for {100 * space.accuracy:.1f}% of images that it never saw"
    judge = f"Counted by {space_in_words(space.label)}{right}."
    return result.ClassCounts(space.classes, tuple(generated.tolist()), tuple(reals.tolist()), intervals, judge)


def _estimated(against: ReferenceSet, found: Shares | None, n: int) -> result.ClassCounts | None:
    images = against.train.images
    if found is None or images.labels is None:
        return None
    reals = np.bincount(images.labels, minlength=len(images.classes))
    if (found.error > reals / len(images.labels)).all():  # as rough as that, the shares say nothing
        return None
    shares = np.clip(found.share, 0, 1)
    low, high = np.clip(found.share - 1.96 * found.error, 0, 1), np.clip(found.share + 1.96 * found.error, 0, 1)
    judge = f"Estimated by a linear classifier, which is right for {100 * found.accuracy:.0f}% of real images."
    intervals = tuple((float(a), float(b)) for a, b in zip(low, high, strict=True))
    return result.ClassCounts(images.classes, tuple(np.rint(n * shares).astype(int).tolist()), tuple(reals.tolist()), intervals, judge)


def spectrum(pixels: Pixels, real: Pixels) -> result.Spectrum | None:
    """Power by frequency beside the band of real images."""
    if min(pixels.shape[1:3]) < of_spectrum.SMALLEST:
        return None
    frequency, power = of_spectrum.radial_power(real)
    low, median, high = np.quantile(power, (0.05, 0.5, 0.95), axis=0)
    generated = np.median(of_spectrum.radial_power(pixels)[1], axis=0)
    keep = frequency > 0
    return result.Spectrum(*(tuple(line[keep].tolist()) for line in (frequency, low, median, high, generated)))
