"""From a model that makes good images of degraded ones to a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from calotype.diagnose.checks import answers
from calotype.diagnose.restoration import FEWEST
from calotype.diagnose.restored import MODEL, Doubles, NoiseLevels, RestorationEvidence, RestorationScores
from calotype.diagnose.training import History
from calotype.errors import UserError
from calotype.evaluation import result
from calotype.evaluation.beside import gone
from calotype.evaluation.eval_images import EvalImage, degradation_of, of_images, of_source, within
from calotype.evaluation.request import Request
from calotype.evaluation.restored import Judge
from calotype.evaluation.run_info import RunInfo
from calotype.evaluation.scores import mean_of, scored
from calotype.evaluation.target import EvaluationResult, Subject
from calotype.files import name_of
from calotype.metrics.inputs import Quality
from calotype.metrics.quality import GAIN, SSIM, convention_for
from calotype.metrics.score import Estimate, Score
from calotype.tasks.sample import Generator

FULL, SHORT = 100, 24
"""Pictures that a report restores, and those of a short one."""

MEGAPIXELS = 8.0, 0.4  # of all of them together, at most
LEVELS = ((5.0, 15.0, 25.0, 35.0, 50.0), (5.0, 25.0, 50.0))  # of the noise at which a denoiser for a range is asked
CROP = 160  # pixels a side of the pieces that are shown
DARKEST = 32.0  # levels of 255 from which on the map of differences is black


@dataclass(frozen=True)
class RestorerTarget:
    """A model that makes good images of degraded ones, and the pictures to judge it by."""

    path: Path
    generator: Generator
    known: RunInfo
    pictures: list[EvalImage]
    training: list[EvalImage]  # as many that it was trained on; none where they are not known

    @property
    def subject(self) -> Subject:
        """Who it is."""
        return self.known.subject(self.path, self.generator)

    def measure(self, request: Request) -> EvaluationResult:
        """Degrade the pictures, restore them, and compare with the truth and with what needs no training."""
        spec, say = self.generator.spec, request.say
        degradation, channels = degradation_of(spec), max(picture.truth.shape[1] for picture in self.pictures)
        convention = convention_for(degradation, channels)
        judge = Judge(self.generator, degradation, convention, request.seed)
        held = judge.measure(self.pictures, say)
        training = judge.measure(self.training, say, "restoring training images", show=False) if self.training else None
        denoising: NoiseLevels | None = None
        levels: tuple[result.PsnrAtSigma, ...] = ()
        if degradation is not None and degradation.noise_levels is not None:
            wanted = within(self.pictures, 0.25 * MEGAPIXELS[request.short])
            sigmas, psnr = judge.levels(wanted, LEVELS[request.short], say)
            denoising, levels = NoiseLevels(sigmas, psnr["told"], psnr["not told"]), levels_of(sigmas, psnr)
        known, records = self.known, self.known.records
        report = result.Report(
            name_of(self.path),
            scores=_scores(held, convention.text),
            data=known.data,
            protocol={"degradation": str(spec.source), "convention": convention.text, "pictures": _names(held)},
            notes=_notes(held, known, request.data),
            pictures=result.ReportImages(crops=crops(held)),
            cost=known.cost(self.generator, held.seconds / held.megapixels),
            restoration=of(held, str(spec.source), convention.text, levels),
        )
        findings = answers(RestorationEvidence(held, training, records, denoising))
        return EvaluationResult(report, [*findings, *(answers(History(records, of="restorer")) if records else ())])


def open_target(path: Path, generator: Generator, request: Request) -> RestorerTarget:
    """The restorer at ``path``, with what its run held out, or whole pictures from ``data``.

    Raises:
        UserError: where there is nothing to judge it by, before anything is restored.
    """
    known = RunInfo.of(path, request)
    return RestorerTarget(path, generator, known, *_pictures(generator, known, path, request))


def _pictures(generator: Generator, known: RunInfo, path: Path, request: Request) -> tuple[list[EvalImage], list[EvalImage]]:
    """Pictures to judge by, and training images beside them: those of its run, or whole ones from ``data`` where that is something else."""
    source, data, seed, megapixels = generator.spec.source, request.data, request.seed, MEGAPIXELS[request.short]
    count = request.count if request.count is not None else (SHORT if request.short else FULL)
    assert source is not None
    if data is not None and known.split is None:
        if degradation_of(generator.spec) is None:
            raise UserError("this model learned from pairs of pictures, and `data` names single ones: leave it out")
        own = generator.spec.channels if source.channels != generator.spec.channels else None  # a restored picture keeps its channels
        return within(of_source(data, own, count, seed, source.scale), megapixels), []
    if known.split is None:
        where = f"{path} is a model by itself" if known.config is None else gone(known.config.data)
        raise UserError(f"{where}: name pictures to restore with `data`")
    held, train = known.split.holdout, known.split.train
    if not len(held):
        raise UserError("the run held no images out: name pictures to restore with `data`")
    pictures = within(of_images(held, count, seed, source.scale), megapixels)
    return pictures, within(of_images(train, len(pictures), seed, source.scale), megapixels)


def levels_of(sigmas: Doubles, psnr: Mapping[str, Doubles]) -> tuple[result.PsnrAtSigma, ...]:
    """Mean PSNR at each noise level, by method."""
    return tuple(result.PsnrAtSigma(float(s), {name: float(v[i].mean()) for name, v in psnr.items()}) for i, s in enumerate(sigmas))


def of(measured: RestorationScores, degradation: str, convention: str, levels: tuple[result.PsnrAtSigma, ...] = ()) -> result.Restoration:
    """What was measured as a part of a report."""
    methods = [result.Method(MODEL, Estimate.mean(measured.psnr[MODEL]), mean_of(SSIM.name, measured.ssim[MODEL]))]
    for name in measured.ranked():
        gain = Estimate.mean(measured.psnr[MODEL] - measured.psnr[name])
        methods.append(result.Method(name, Estimate.mean(measured.psnr[name]), mean_of(SSIM.name, measured.ssim[name]), gain))
    each = {name: tuple(values.tolist()) for name, values in measured.psnr.items()}
    return result.Restoration(degradation, convention, tuple(measured.names), tuple(methods), each, levels)


def _scores(measured: RestorationScores, convention: str) -> tuple[Score, ...]:
    best, n = measured.best, len(measured.names)
    found = Quality(measured.psnr[MODEL], measured.ssim[MODEL], measured.psnr[MODEL] - measured.psnr[best])
    return tuple(replace(s, features=f"over {best}") if s.name == GAIN.name else s for s in scored([found], [], convention, n, n))


def crops(measured: RestorationScores) -> tuple[result.Crop, ...]:
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


def _names(measured: RestorationScores) -> str:
    return f"{len(measured.names):,}: {measured.names[0]} ... {measured.names[-1]}"


def _notes(measured: RestorationScores, known: RunInfo, data: str | None) -> tuple[str, ...]:
    notes = []
    if data is not None and known.learned_from(data):
        notes.append(f"the run was trained on pictures of {data}: leave out `data` to judge it by those that it held out")
    if len(measured.names) < FEWEST:
        notes.append(f"{len(measured.names)} images are few: their intervals hold only if they are typical")
    if known.config is not None and known.split is not None and known.config.data.fit == "tile":
        notes.append(
            "images are tiles: where several come from one photograph they are alike, and the intervals too narrow for other photographs"
        )
    return tuple(notes)
