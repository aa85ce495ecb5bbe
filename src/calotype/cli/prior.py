"""``calotype restore --prior``: a model that was trained to draw images restores them."""

from __future__ import annotations

import json
import math
import sys
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, get_args

import torch
import tyro
from torch import Tensor

from calotype import degrade, pictures
from calotype.cli.outcomes import ended
from calotype.cli.outputs import tell_unmarked, write_grid
from calotype.cli.parse import parse
from calotype.cli.shell import Shell
from calotype.data.images import some
from calotype.data.load import has_a_name
from calotype.degrade import Degradation, Degraded
from calotype.errors import DamagedError, UserError
from calotype.evaluation.run_info import RunInfo
from calotype.files import expanded, obstacle, read_json, write_json
from calotype.provenance.marker import Making, Marker, Provenance
from calotype.settings import Count, NotNegative, Positive, Seed, SolverSteps
from calotype.spelling import as_options, spelled
from calotype.tasks.batch import Outcome
from calotype.tasks.inputs import Inputs, open_inputs
from calotype.tasks.inverse_problem import OPTIONS, TaskName, problem
from calotype.tasks.prior import MethodName, PosteriorSamples, joined, restore_with_prior
from calotype.tasks.prior_pictures import EACH, OWN, measurements, truths
from calotype.tasks.prior_scores import PriorScores, apart, judge, together
from calotype.tasks.sample import Generator, load
from calotype.types import ImageSpec, Noise

CHUNK = 32  # pictures restored together
USUAL = 20  # pictures of a data set that is named: the fewest that a factor for std.png can be fitted on and tried
ROWS, DRAWN = 12, 4  # of overview.png: rows, and samples in each


@dataclass(frozen=True)
class Options:
    """Restore pictures with a model that was trained to draw such pictures, and see how far the result can be believed.

    IN is what was measured of pictures of the prior's size. With --score or --degrade it is the truth: it is degraded first, then
    restored, and the result is compared with it. OUT is a folder: mean.png is the mean of the possible originals, the best single
    answer; std.png shows how far they differ; samples/ holds them; overview.png shows all of it side by side; result.json has the
    numbers, among them the residual of the measurement beside its noise, and whether 90% intervals hold 90% of the truth. Of several
    pictures each has a folder of its name in OUT.

    With --json: {"files": [{"file", "folder", "notes", "residual", "noise", "std", "psnr", "ssim", "sample", "baselines": {NAME: {"psnr",
    "ssim"}}, "convention"}], "mean": {"psnr", "ssim", "sample", "baselines", "convention"}, "calibration": {...}, "failed": [...], ...}.

    Examples:
    calotype restore --prior runs/flow-matching-mnist5k-0001 mnist5k halves --task inpaint --score
    calotype restore --prior runs/flow-matching-photos-0001 damaged.png restored --task inpaint --mask scratches.png
    """

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]  # a picture, folder, zip or data set (held-out images)
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]  # a folder for what is made
    prior: Path  # a run, or a model/ folder: diffusion, flow matching, GAN, VAE or flow
    task: TaskName | None = None  # what was done to the pictures; needed without --degrade
    samples: SolverSteps = 20  # possible originals of each; from 19 on the intervals assume nothing of them
    score: bool = False  # degrade IN first as the task says, and compare the results with it
    degrade: str | None = None  # the same in another way: blur:2+noise:5, mask:box, motion:9 ...
    # of inpainting, the missing pixels: right (or half, the default), left, lower, upper, or a picture that is white where they are missing
    mask: str | None = None
    sigma: NotNegative | None = None  # of the noise in what was measured, on the scale of 0 to 255
    scale: Count | None = None  # of super-resolution; 2 where none is given
    blur: Positive | None = None  # of deblurring: standard deviation of the Gaussian in pixels; 1.6 where none is given
    method: MethodName = "auto"  # dps for diffusion models, inversion for others; diffpir and ddrm are quicker and less exact
    steps: SolverSteps | None = None  # of the method; as many as are good for it where none is given
    label: str | None = None  # class of the pictures, where it is known
    overwrite: bool = False  # replace results that exist
    count: Count | None = None  # pictures at most: all of a file, folder or zip where none is given, and the first 20 of a data set
    seed: Seed = 0  # another seed, other noise and other samples
    provenance: Provenance = "full"  # what pictures say of their making; minimal: that a model had a part in it, but not how
    device: str = "auto"  # auto, cpu, cuda, mps
    json: bool = False  # print the result as JSON


@dataclass(frozen=True)
class _Work:
    """What is to be restored."""

    degradation: Degradation
    image: Tensor  # (N, ...) in [-1, 1]: the truth where it is known, else what was measured
    truth: bool
    folders: list[str]  # for what is made of each, in OUT
    outcomes: list[Outcome]  # of all pictures, those that cannot be used among them

    def part(self, first: int, generator: Generator, seed: int) -> Degraded:
        """What was measured of some of the images, and how."""
        image = self.image[first : first + CHUNK]
        noise = Noise(len(image), seed, first)
        if self.truth:
            return self.degradation(image, noise)
        blank = self.degradation(torch.zeros(len(image), *generator.spec.shape), noise)
        return replace(blank, image=image if blank.conditioning is None else image * blank.conditioning)  # a mask is all that these tell of


@dataclass(frozen=True)
class _Done:
    """What came of it."""

    restored: PosteriorSamples
    measured: Tensor  # (N, C', h, w)
    judged: PriorScores | None  # where the truth is known


def run(words: list[str]) -> int:
    """Restore; prints what there is to say of the results, and where they are."""
    asks = bool({"-h", "--help"} & set(words))  # also where no model is named yet
    options = parse(Options, ["--help"] if asks else words, "calotype restore --prior MODEL")
    if reason := obstacle(options.out, folder=True):
        raise UserError(f"cannot write into {options.out}: {reason}; choose another place")
    if options.out.is_dir() and any(options.out.iterdir()) and not options.overwrite:
        raise UserError(f"{options.out} is not empty: give another OUT, or --overwrite to replace what is in it")
    generator = load(options.prior, options.device)
    generator.require_images()
    if generator.model.from_source:
        raise UserError(f"{options.prior} makes pictures of pictures, and a prior draws them: leave out --prior, or name a generator")
    with open_inputs(options.source, options.out, _most(options)) as inputs:
        work = _work(options, generator, inputs)
    if work.truth and RunInfo.of(options.prior).learned_from(options.source):
        print(f"calotype: {options.prior} was trained on pictures of {options.source}: others may be restored less well", file=sys.stderr)
    with closing(Shell()) as display:
        done = _restored(options, generator, work, display)
    facts = _facts(options, work, done)
    _write(options.out, work, done, facts, _marker(options, generator, work, done).at(options.provenance))
    tell_unmarked(options.provenance)
    print(json.dumps(facts) if options.json else _said(options.out, facts))
    return ended(work.outcomes)


def _most(options: Options) -> int | None:
    """How many pictures there may be; None for all."""
    named = has_a_name(options.source) and not expanded(options.source).exists()
    return USUAL if options.count is None and named else options.count


def _work(options: Options, generator: Generator, inputs: Inputs) -> _Work:
    """The pictures, and what was or will be done to them."""
    out = options.out.resolve()
    if any(path is not None and out in path.resolve().parents for path in map(inputs.path, inputs.names)):
        raise UserError(f"pictures of IN are in {options.out}, where results go: give another OUT")
    spec, known = generator.spec, options.score or options.degrade is not None
    if options.degrade is not None:
        degradation = _named(options.degrade, options, spec)
    elif options.task is None:
        raise UserError(f"what was done to the pictures? Say so with --task ({', '.join(get_args(TaskName))}) or --degrade")
    else:
        degradation = problem(
            options.task, spec, sigma=options.sigma, scale=options.scale, blur=options.blur, mask=options.mask, trial=known
        )
    found = truths(inputs, spec) if known else measurements(inputs, degradation, spec)
    return _Work(degradation, found.image, known, found.folders, found.outcomes)


def _named(name: str, options: Options, spec: ImageSpec) -> Degradation:
    """The degradation that is spelled out."""
    if both := [option for option in ("sigma", *OPTIONS) if getattr(options, option) is not None]:
        raise UserError(f"--{both[0]} and --degrade both say how IN is degraded: put it into --degrade, joined by +")
    degradation = degrade.parse(name)
    degradation.channels(spec.channels)  # some need color, and say so
    if spec.size % degradation.scale:
        raise UserError(f"images of {spec.size} pixels a side cannot be made {degradation.scale} times smaller: give another --degrade")
    return degradation


def _restored(options: Options, generator: Generator, work: _Work, display: Shell) -> _Done:
    total, label = len(work.image), generator.label(options.label)
    parts, seen, judged = [], [], []
    for first in range(0, total, CHUNK):
        degraded = work.part(first, generator, options.seed)
        count = len(degraded.image)
        parts.append(
            restore_with_prior(
                generator,
                degraded.image,
                degraded.operator,
                samples=options.samples,
                steps=options.steps,
                method=options.method,
                seed=options.seed,
                start=first,
                label=label,
                progress=lambda done, of, at=first, n=count: display.show("drawing", at * of + n * done, total * of),  # type: ignore[misc]
            )
        )
        seen.append(degraded.image)
        if work.truth:
            judged.append(judge(parts[-1], work.image[first : first + count], degraded, work.degradation))
    return _Done(joined(parts), torch.cat(seen), together(judged) if judged else None)


def _facts(options: Options, work: _Work, done: _Done) -> dict[str, Any]:
    """All numbers; those of pixels on the scale of 0 to 255."""
    found, judged = done.restored, done.judged
    deviation = found.std.square().mean((1, 2, 3)).sqrt() * 127.5
    made = [outcome for outcome in work.outcomes if not outcome.error]
    numbers = zip(found.residual.mean(1).tolist(), found.noise.tolist(), deviation.tolist(), strict=True)
    files: list[dict[str, Any]] = [
        {
            "file": outcome.file,
            "folder": folder,
            "notes": spelled(outcome.notes),
            "residual": residual * 127.5,
            "noise": noise * 127.5,
            "std": std,
        }
        for outcome, folder, (residual, noise, std) in zip(made, work.folders, numbers, strict=True)
    ]
    facts: dict[str, Any] = {
        "task": options.task,
        "degradation": work.degradation.spec,
        "method": found.method,
        "steps": found.steps,
        "samples": options.samples,
        "seed": options.seed,
        "images": len(files),
        **{name: sum(file[name] for file in files) / len(files) for name in ("residual", "noise", "std")},
        "std_white": max(float(found.std.max()) * 127.5, 1.0),
        "columns": ["truth"] * work.truth + ["measured", "mean"] + ["sample"] * min(DRAWN, options.samples) + ["std"],
    }
    if judged is not None:
        for index, file in enumerate(files):
            file |= apart(judged.of(index))
        calibration = found.calibrated(work.image, judged.hidden)
        facts |= {"mean": judged.as_json(), "calibration": {"verdict": calibration.verdict, **asdict(calibration)}}
    failed = [{"file": outcome.file, "error": as_options(outcome.error)} for outcome in work.outcomes if outcome.error]
    return _rounded(facts | {"files": files, "failed": failed})  # type: ignore[no-any-return]


def _rounded(value: Any) -> Any:
    """Every number within to four digits behind the point; None for what is none, which JSON cannot hold."""
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value


def _marker(options: Options, generator: Generator, work: _Work, done: _Done) -> Marker:
    """What all results say of their making."""
    asked = {"degrade": work.degradation.spec, "method": done.restored.method, "steps": done.restored.steps, "samples": options.samples}
    making: Making = "inpainting" if "mask" in work.degradation.conditioning else "restoration"
    return generator.made(making, seed=options.seed, index=0, label=options.label, options=asked)


def _write(out: Path, work: _Work, done: _Done, facts: dict[str, Any], marker: Marker | None) -> None:
    _clear(out)
    found = done.restored
    deviation = found.std.square().mean(1, keepdim=True).sqrt() * (127.5 / facts["std_white"]) * 2 - 1
    mean, std, samples = EACH
    for index, folder in enumerate(work.folders):
        place = out / folder
        (place / samples).mkdir(parents=True, exist_ok=True)
        for image, file in ((found.mean, mean), (deviation, std)):
            pictures.save(pictures.to_picture(pictures.to_uint8(image[index : index + 1])[0]), place / file, marker and marker.one(index))
        possible = replace(marker, options={**marker.options, "picture": index}) if marker and marker.options else marker
        pictures.save_images(found.samples[index], place / samples, marker=possible)
    measured = pictures.like(done.measured, found.mean)
    columns = [work.image] * work.truth + [measured, found.mean, *found.samples[:, :DRAWN].unbind(1), deviation.expand_as(found.mean)]
    rows = torch.stack(columns, 1)[:ROWS]
    overview, result = OWN
    sheet = marker and replace(marker, making="overview")
    write_grid(out / overview, pictures.to_uint8(rows.flatten(0, 1)), rows.shape[1], sheet)
    write_json(out / result, facts)


def _clear(out: Path) -> None:
    """Remove the results of an earlier run that its result.json names, and nothing else."""
    overview, result = OWN
    try:
        folders = [Path(file["folder"]) for file in read_json(out / result)["files"]]
    except (DamagedError, TypeError, KeyError):  # there is none, or one of something else
        return
    mean, std, samples = EACH
    for folder in folders:
        place = out / folder
        if not (place / samples).resolve().is_relative_to(out.resolve()):
            continue
        for old in (place / mean, place / std, *(place / samples).glob("[0-9]" * 6 + ".png")):
            old.unlink(missing_ok=True)
        for emptied in (place / samples, *(out / part for part in (folder, *folder.parents) if part != Path())):
            with suppress(OSError):  # there is something else in it
                emptied.rmdir()
    for old in (out / overview, out / result):
        old.unlink(missing_ok=True)


def _said(out: Path, facts: dict[str, Any]) -> str:
    """The same in words."""
    lines = [
        f"{some(facts['images'], 'picture')}, {facts['degradation']}: {some(facts['samples'], 'sample')} each by {facts['method']}, "
        f"{some(facts['steps'], 'step')}",
        f"residual of what was measured {facts['residual']:.2f} of 255, its noise {facts['noise']:.2f}; "
        f"the samples differ by {facts['std']:.1f}",
    ]
    if "calibration" in facts:
        mean = facts["mean"]
        scores = {"mean": mean, "one sample": mean["sample"], **mean["baselines"]}
        lines += [
            f"{metric.upper()}  "
            + "   ".join(f"{name} {score[metric]:.{digits}f}" for name, score in scores.items() if score[metric] is not None)
            for metric, digits in (("psnr", 2), ("ssim", 4))
            if any(score[metric] is not None for score in scores.values())
        ]
        lines.append(f"      {mean['convention']}")
        lines.append(_believed(facts["calibration"]))
    lines.append(
        f"{out}: overview.png ({', '.join(dict.fromkeys(facts['columns']))}; white is a std of {facts['std_white']:.0f}), result.json"
    )
    return "\n".join(lines)


def _believed(found: dict[str, Any]) -> str:
    if found["coverage"] is None:
        return "nothing is missing: there is nothing to tell by whether the samples are calibrated"
    error = "" if found["error"] is None else f" +- {found['error']:.1%}"
    text = (
        f"the samples are {found['verdict']}: "
        if found["verdict"] != "too few images to tell"
        else "too few pictures to tell whether the samples are calibrated: "
    )
    text += f"{found['level']:.0%} intervals hold {found['coverage']:.1%} of the truth, {found['coverage_even']:.1%}{error} where ties "
    text += "count by share"
    if found["coverage_varied"] is not None and found["varied"] < 1:
        text += f", {found['coverage_varied']:.1%} in the {found['varied']:.0%} of pixels that are not certain"
    if found["correlation"] is not None:
        text += f"; std and error go together with {found['correlation']:.2f} (Spearman)"
    if found["factor"] is not None:
        text += f"; times {found['factor']:.2f} the std holds {found['coverage_scaled']:.1%} in other images"
    return text
