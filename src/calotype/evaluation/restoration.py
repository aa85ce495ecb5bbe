"""From a model that makes good images of degraded ones to a report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from calotype.degrade.noise import GaussianNoise
from calotype.diagnose import restoration as findings
from calotype.diagnose import training
from calotype.diagnose.verdict import Finding, Verdict, cannot_tell, conclude, fitting
from calotype.errors import UserError
from calotype.evaluation import evidence, result, translation
from calotype.evaluation.beside import gone
from calotype.evaluation.checks import Findings
from calotype.evaluation.eval_images import EvalImage, degradation_of, of_images, of_source, within
from calotype.evaluation.request import Request
from calotype.evaluation.restored import MODEL, Judge, Restored
from calotype.evaluation.run_info import RunInfo
from calotype.evaluation.scores import GAIN, mean_of
from calotype.evaluation.target import SELECTED
from calotype.files import name_of
from calotype.metrics.likelihood import gap
from calotype.metrics.quality import Convention, convention_for
from calotype.metrics.score import Estimate, Score
from calotype.tasks.sample import Generator, load

FULL, SHORT = 100, 24
"""Pictures that a report restores, and those of a short one."""

MEGAPIXELS = 8.0, 0.4  # of all of them together, at most
LEVELS = ((5.0, 15.0, 25.0, 35.0, 50.0), (5.0, 25.0, 50.0))  # of the noise at which a denoiser for a range is asked
FEWEST = 10  # images of either kind behind a comparison of training images with unseen ones
CROP = 160  # pixels a side of the pieces that are shown
DARKEST = 32.0  # levels of 255 from which on the map of differences is black


def opened(path: Path, request: Request) -> Callable[[], result.Report]:
    """The work of judging a run or a model that makes images from images, by what its run held out or by whole pictures from ``data``.

    Raises:
        UserError: where there is nothing to judge it by, before anything is restored.
    """
    unfit = [name for name in ("features", "holdout", "size", "fit") if getattr(request, name) is not None]
    if unfit:
        raise UserError(
            f"{path} makes images from images, which are compared with the truth in their own sizes: leave out --{unfit[0]}, and name "
            "pictures to judge it by with --data"
        )
    if request.count is not None and request.count < 1:
        raise UserError(f"--count must be 1 or more, not {request.count}")
    generator = load(path, request.device)
    if generator.model.translates:
        return translation.opened(path, generator, request)
    known = RunInfo.of(path, request)
    pictures, training = _pictures(generator, known, path, request)
    return lambda: _judged(path, generator, known, pictures, training, request)


def _judged(
    path: Path, generator: Generator, known: RunInfo, pictures: list[EvalImage], training: list[EvalImage], request: Request
) -> result.Report:
    seed, short, say = request.seed, request.short, request.say
    degradation, channels = degradation_of(generator.spec), max(picture.truth.shape[1] for picture in pictures)
    convention = convention_for(degradation, channels)
    judge = Judge(generator, degradation, convention, seed)
    measured = judge.measure(pictures, say)
    found = _findings(measured)
    if training:
        memorized = judge.measure(training, say, "restoring training images", show=False)
        found.append(_overfit(memorized, measured, known))
    levels: tuple[result.NoiseLevel, ...] = ()
    if isinstance(degradation, GaussianNoise) and degradation.conditioning:
        sigmas, psnr = judge.levels(within(pictures, 0.25 * MEGAPIXELS[short]), LEVELS[short], say)
        found.append(findings.noise_level(sigmas, psnr["told"], psnr["not told"]))
        levels = tuple(result.NoiseLevel(float(s), {name: float(v[i].mean()) for name, v in psnr.items()}) for i, s in enumerate(sigmas))
    return _report(path, generator, known, measured, found, convention, levels, request)


def _pictures(generator: Generator, known: RunInfo, path: Path, request: Request) -> tuple[list[EvalImage], list[EvalImage]]:
    """Pictures to judge by, and training images beside them: those of its run, or whole ones from ``data`` where that is something else."""
    source, data, seed, megapixels = generator.spec.source, request.data, request.seed, MEGAPIXELS[request.short]
    count = request.count if request.count is not None else (SHORT if request.short else FULL)
    assert source is not None
    if data is not None and known.split is None:
        if degradation_of(generator.spec) is None:
            raise UserError("this model learned from pairs of pictures, and --data names single ones: leave it out")
        own = generator.spec.channels if source.channels != generator.spec.channels else None  # a restored picture keeps its channels
        return within(of_source(data, own, count, seed, source.scale), megapixels), []
    if known.split is None:
        where = f"{path} is a model by itself" if known.config is None else gone(known.config.data)
        raise UserError(f"{where}: name pictures to restore with --data")
    held, train = known.split.holdout, known.split.train
    if not len(held):
        raise UserError("the run held no images out: name pictures to restore with --data")
    pictures = within(of_images(held, count, seed, source.scale), megapixels)
    return pictures, within(of_images(train, len(pictures), seed, source.scale), megapixels)


def _findings(measured: Restored) -> Findings:
    best = measured.ranked()[0]
    psnr, kept, shift = measured.psnr, measured.kept, measured.shift
    return [
        findings.baseline(psnr[MODEL], psnr[best], best),
        findings.harm(psnr[MODEL], psnr[measured.given]),
        findings.blur(kept[MODEL], kept[best], measured.detail, best),
        findings.drift(shift[MODEL], shift[best]),
    ]


def _overfit(train: Restored, holdout: Restored, known: RunInfo) -> Finding | Verdict:
    """How much more training images gain than unseen ones that the best classical method finds as hard and that hold as much detail."""
    best = holdout.ranked()[0]
    # less is better, as with bits
    short, short_train = (m.psnr[best] - m.psnr[MODEL] for m in (holdout, train))
    hard, hard_train = (np.column_stack([m.psnr[best], np.log(np.maximum(m.detail, 1e-9))]) for m in (holdout, train))
    count = min(len(short), len(short_train))
    if count < FEWEST:
        return cannot_tell("overfitting", "There are too few images to compare training images with unseen ones.")
    return findings.overfit(gap(short, short_train, hard, hard_train, fewest=FEWEST), count, findings.growth(known.records))


def _report(
    path: Path,
    generator: Generator,
    known: RunInfo,
    measured: Restored,
    found: Findings,
    convention: Convention,
    levels: tuple[result.NoiseLevel, ...],
    request: Request,
) -> result.Report:
    spec = generator.spec
    assert spec.source is not None
    if known.records:
        found = [*found, training.divergence(known.records)]
    verdicts = [fitting(v, vars(settings)) if (settings := getattr(generator.model, "config", None)) else v for v in conclude(found)]
    restoration = of(measured, str(spec.source), convention.text, levels)
    return result.Report(
        subject=name_of(path),
        scores=_scores(measured, convention.text),
        verdicts=tuple(verdicts),
        about=known.about(generator),
        data=known.data,
        protocol={"degradation": str(spec.source), "convention": convention.text, "pictures": _names(measured)},
        seed=request.seed,
        short=request.short,
        recipe=generator.recipe or None,
        settings=known.settings,
        train_seed=known.train_seed,
        notes=_notes(measured, known, request.data),
        pictures=result.ReportImages(crops=crops(measured)),
        curves=evidence.curves(known.records),
        cost=known.cost(generator, measured.seconds / measured.megapixels),
        restoration=restoration,
    )


def of(measured: Restored, degradation: str, convention: str, levels: tuple[result.NoiseLevel, ...] = ()) -> result.Restoration:
    """What was measured as a part of a report."""
    methods = [result.Method(MODEL, Estimate.mean(measured.psnr[MODEL]), mean_of("SSIM", measured.ssim[MODEL]))]
    for name in measured.ranked():
        gain = Estimate.mean(measured.psnr[MODEL] - measured.psnr[name])
        methods.append(result.Method(name, Estimate.mean(measured.psnr[name]), mean_of("SSIM", measured.ssim[name]), gain))
    each = {name: tuple(values.tolist()) for name, values in measured.psnr.items()}
    return result.Restoration(degradation, convention, tuple(measured.names), tuple(methods), each, levels)


def _scores(measured: Restored, convention: str) -> tuple[Score, ...]:
    best, n = measured.ranked()[0], len(measured.names)
    gain = Estimate.mean(measured.psnr[MODEL] - measured.psnr[best])
    rows = [(GAIN, gain, f"over {best}")]
    rows += [(name, mean_of(name, values[MODEL]), convention) for name, values in (("PSNR", measured.psnr), ("SSIM", measured.ssim))]
    return tuple(Score(name, e.value, e.interval, None, n, n, features, "higher") for name, e, features in rows)


def crops(measured: Restored) -> tuple[result.Crop, ...]:
    """The worst, the median and the best picture by PSNR: of each the piece with the most detail."""
    order = np.argsort(measured.psnr[MODEL])
    wanted = dict.fromkeys((int(order[0]), int(order[len(order) // 2]), int(order[-1])))
    words = dict(zip(wanted, ("worst", "median", "best"), strict=False))
    found = []
    for place in wanted:
        before, after, truth = measured.shown[place]
        top, left = _busiest(truth)
        parts = [image[top : top + CROP, left : left + CROP] for image in (before, after, truth)]
        difference = np.abs(parts[1].astype(float) - parts[2]).mean(2, keepdims=True)
        shade = np.rint(255 * (1 - np.minimum(difference / DARKEST, 1))).astype(np.uint8)
        psnr, given = measured.psnr[MODEL][place], measured.psnr[measured.given][place]
        title = f"{words[place]} of {len(order)}: {measured.names[place]}, {psnr:.1f} dB ({measured.given} {given:.1f})"
        found.append(result.Crop(title, parts[0], parts[1], parts[2], shade))
    return tuple(found)


def _busiest(truth: result.Pixels) -> tuple[int, int]:
    """Where a square of ``CROP`` pixels holds most steps between neighbors."""
    light = truth.mean(2)
    steps = np.abs(np.diff(light, axis=0))[:, 1:] + np.abs(np.diff(light, axis=1))[1:]
    total = np.pad(steps.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    high, wide = min(CROP, truth.shape[0]) - 1, min(CROP, truth.shape[1]) - 1
    inside = total[high:, wide:] - total[:-high, wide:] - total[high:, :-wide] + total[:-high, :-wide]
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(top), int(left)


def _names(measured: Restored) -> str:
    return f"{len(measured.names):,}: {measured.names[0]} ... {measured.names[-1]}"


def _notes(measured: Restored, known: RunInfo, data: str | None) -> tuple[str, ...]:
    notes = [SELECTED] if known.selected else []
    if data is not None and known.learned_from(data):
        notes.append(f"the run was trained on pictures of {data}: leave out --data to judge it by those that it held out")
    if len(measured.names) < 10:
        notes.append(f"{len(measured.names)} images are few: their intervals hold only if they are typical")
    if known.config is not None and known.split is not None and known.config.data.fit == "tile":
        notes.append(
            "images are tiles: where several come from one photograph they are alike, and the intervals too narrow for other photographs"
        )
    return tuple(notes)
