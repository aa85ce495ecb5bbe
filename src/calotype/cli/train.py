"""``calotype train``."""

from __future__ import annotations

import contextlib
import json
import shlex
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, get_type_hints

import tyro

from calotype import earlier
from calotype.cli.check_text import reasons
from calotype.cli.parse import parse
from calotype.cli.recipe_shortcuts import OPTIONS, degraded
from calotype.cli.shell import Shell
from calotype.config import BUDGETS, Config, Data, Logging, More, Optimizer, Schedule, Training, from_json, to_json, with_one_budget
from calotype.data import suggested_size, toy
from calotype.data.images import some
from calotype.engine import distributed, starting
from calotype.engine.display import duration, progress
from calotype.engine.distributed import World
from calotype.engine.expected import TrainingCost, training_cost
from calotype.engine.images import open_images
from calotype.engine.run import Run
from calotype.engine.train import Result, resume, train
from calotype.errors import CalotypeError, UserError, unforeseen
from calotype.evaluation.evaluate import evaluate
from calotype.evaluation.result import Report
from calotype.evaluation.result import to_json as report_json
from calotype.files import JSON_BYTES, parse_json, read_bytes
from calotype.models import ModelConfig, stored
from calotype.recipes import DEFAULT, Preset, named
from calotype.recipes.choice import POINTS, configured, of_split
from calotype.report.files import save
from calotype.report.text import text
from calotype.settings import checked, choices, tag_of
from calotype.spelling import option

PROG = "calotype train [RECIPE]"
PHOTOS, FROM_PHOTOS = "photos", "transfer"  # what --from names in place of a run, and the recipe that it means


@dataclass(frozen=True)
class Options:
    """Train a model, or continue a run.

    The short forms --data, --size, --minutes, --steps, --seed ... stand for --data.source and so on. Defaults below are those of
    the recipe that is named (calotype recipes lists them).

    Examples:
    calotype train                                              (digits in about a minute, no download)
    calotype train dcgan --data photos/ --size 64 --minutes 30  (your own images)
    calotype train ddpm --preset published --data photos/       (the paper's network and budget, for a large GPU)
    calotype train denoise --data photos/                       (restoration: see calotype recipes for all kinds)
    calotype train upscale --scale 4 --data photos/             (images four times larger)
    calotype train dcgan --data birds/ --from runs/dcgan-photos-0001  (start from the weights of another run)
    calotype train --from photos --data things/                 (recognize your own classes: see calotype classify)
    calotype train --resume runs/dcgan-photos-0001              (continue, bit for bit)
    calotype train --resume runs/dcgan-photos-0001 --more-minutes 10
    """

    model: tyro.conf.FlagConversionOff[ModelConfig]
    preset: Preset = "laptop"  # published: sizes and budget of the paper, for hardware like its authors'
    sigma: str | None = None  # denoise: the noise level, such as 25, or a range, such as 0-55
    blur: str | None = None  # deblur: the width of the blur, such as 1.6 or 0.5-3, or another blur, such as motion:5-21 or defocus:3
    scale: str | None = None  # upscale (2 to 8) and real (2 or 4): how many times larger images become
    quality: str | None = None  # dejpeg: the quality of the compression, such as 30 or 10-60
    mask: str | None = None  # inpaint: what is missing, of half, box, strokes or a share of the pixels, such as box,0.5
    out: Path | None = None  # folder of the run; runs/RECIPE-SOURCE-NNNN where none is given
    resume: Path | None = None  # continue this run from its newest checkpoint
    config: Path | None = None  # take all settings from this JSON file instead of a recipe
    show_config: bool = False  # print the settings as JSON and stop
    dry_run: bool = False  # take the first steps, say how long all of them would take on this machine, and stop; nothing is written
    report: tyro.conf.FlagConversionOff[bool] = True  # judge the result by a short report, as calotype evaluate does at length
    json: bool = False  # print the result as JSON
    more: More = field(default_factory=More)
    data: tyro.conf.FlagConversionOff[Data] = field(default_factory=Data)
    train: tyro.conf.FlagConversionOff[Training] = field(default_factory=Training)
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    log: Logging = field(default_factory=Logging)


def run(words: list[str]) -> int:
    """Train; prints where the run and the newest grid are. What several processes are asked in vain, one of them says."""
    display = Shell()
    try:
        with distributed.joined(farewell=display.close) as world:
            done = _trained(words, display, world)
    finally:
        display.close()
    if done is None:
        return 0
    options, result = done
    if result.is_main:
        report = _judged(result, options.train.device, display) if options.report and result.complete else None
        _tell(result, report, options.json)
    return 0 if result.complete else 130


def _trained(words: list[str], display: Shell, world: World) -> tuple[Options, Result] | None:
    """The options and what came of them; None where the settings were printed alone."""
    default, words = _default(words, display, world)
    default = _with_networks(default, words)
    start = Options(
        default.model, data=default.data, train=default.train, optimizer=default.optimizer, schedule=default.schedule, log=default.log
    )
    options = parse(Options, words, PROG, start)
    config = Config(
        default.recipe, options.model, options.data, options.optimizer, options.schedule, options.train, options.log, default.reasons
    )
    short = {kind.option: getattr(options, kind.option) for kind in OPTIONS.values()}
    named = {word.partition("=")[0] for word in words}
    asked = [name for name in BUDGETS if named & {f"--{name}", f"--train.{name}"}]
    config = with_one_budget(default, degraded(config, default, short, named), asked)
    more = _more(options, asked)
    if options.show_config:
        if world.is_main:
            print(to_json(config), end="")
        return None
    if options.dry_run:
        if options.resume is not None:
            raise UserError("--dry-run predicts what a new training takes: leave out --resume")
        if world.size > 1:
            raise UserError("--dry-run predicts what one process takes: run it without torchrun")
        _predicted(training_cost(config, display), display, options.json)
        return None
    if options.resume is None:
        return options, train(config, out=options.out, display=display, world=world)
    if options.out is not None:
        raise UserError("a resumed run stays in its folder: leave out --out")
    return options, resume(options.resume, config, more=more, display=display, world=world)


def _more(options: Options, asked: list[str]) -> More | None:
    """How much longer a run goes on; `UserError` beside what says something else."""
    if not options.more.given:
        return None
    option = f"--more-{next(iter(options.more.given))}"
    if options.resume is None:
        raise UserError(f"{option} continues a run: name it with --resume RUN")
    if asked:
        raise UserError(f"{option} goes on from where the run is, and --{asked[0]} counts from its beginning: give one of them")
    return options.more


def _predicted(found: TrainingCost, display: Shell, as_json: bool) -> None:
    """What a training would take."""
    display.close()
    if as_json:
        print(json.dumps(asdict(found) | {"minutes": round(found.minutes, 2)}))
        return
    speed = f"{found.seconds_per_step:.3g} seconds a step on {some(found.threads, 'thread')}"
    print(f"{found.steps:,} steps of {some(found.batch, 'image')}, {speed}: about {duration(60 * found.minutes)}; nothing was written")


def _judged(result: Result, device: str, display: Shell) -> Report | None:
    """A short report in the run's folder. A training that went well does not fail because its result cannot be judged."""
    folder = result.run.folder
    try:
        report = evaluate(folder, device=device, short=True, say=display.show)
        save(report, folder / "report")
        result.run.tell_judgement(report_json(report))
    except Exception as error:
        display.say(f"no report: {error if isinstance(error, CalotypeError) else unforeseen(error)}")
        return None
    finally:
        display.close()
    return report


def _default(words: list[str], display: Shell, world: World) -> tuple[Config, list[str]]:
    """The settings that the options start from, and the words without the recipe's name. Where none is named, the images decide."""
    name = words[0] if words and not words[0].startswith("-") else None
    rest = words[1:] if name else words
    folder, file, preset, start = (_value(rest, option) for option in ("--resume", "--config", "--preset", "--from"))
    if start == PHOTOS:
        if name not in (None, FROM_PHOTOS):
            raise UserError(f"--from {PHOTOS} is the recipe {FROM_PHOTOS}: leave out {name}, or name a run of that name as ./{PHOTOS}")
        if other := next((option for option, given in (("--config", file), ("--resume", folder)) if given is not None), None):
            raise UserError(f"--from {PHOTOS} brings all settings: leave out {other}, or name a run of that name as ./{PHOTOS}")
        name, rest = FROM_PHOTOS, _without(rest, "--from", PHOTOS)
    if sum(x is not None for x in (name, folder, file)) > 1:
        raise UserError("give one of RECIPE, --resume RUN and --config FILE: each brings all settings")
    if preset is not None and (folder is not None or file is not None):
        raise UserError("--preset belongs to a recipe: leave it out beside --resume and --config, which bring all settings")
    if folder is not None:
        return Run.open(Path(folder)).read_config()[0], rest
    start = _either(rest, "train.start")
    if file is None and name is None and preset is None and start is None and "--help" not in rest and "-h" not in rest:
        return _for_images(rest, display, world), rest
    recipe = name or (DEFAULT if start is None else stored.find(start).recipe)
    config = named(recipe, "published" if preset == "published" else "laptop") if file is None else _config_in(Path(file))
    return config if start is None else starting.based_on(config, start), rest


def _for_images(words: list[str], display: Shell, world: World) -> Config:
    """The settings that fit the images which ``words`` name; the default where they name none, or images that are to be changed."""
    given: dict[str, Any] = {
        name: _either(words, f"data.{name}") for name in ("source", "fit", "partner", "degrade", "size", "channels", "holdout")
    }
    numbers = {name: _number(given[name]) for name in ("size", "channels", "holdout")}
    try:
        data = checked(Data, {name: value for name, value in {**given, **numbers}.items() if value is not None})
    except UserError:  # which whoever reads all options tells better
        return named(DEFAULT)
    if data == Data() or data.partner is not None or data.degrade is not None:
        return named(DEFAULT)
    return from_json(Config, world.first(lambda: to_json(_suggested(data, display))))


def _suggested(data: Data, display: Shell) -> Config:
    """The settings that the images suggest, said."""
    if data.source in toy.POINTS:
        display.say(f"no recipe is named: {data.source} holds points, which suggest calotype train {POINTS}")
        return named(POINTS)
    looking = progress(display.show, "looking")
    own = None if data.size else suggested_size(data.source, progress=looking)
    split = open_images(replace(data, size=data.size or own), looking)
    why = "as it was asked for" if data.size else "that of the images" if own is None else "more than half of the images fill it"
    advice = of_split(split, why)
    display.say(f"no recipe is named: these images suggest calotype train {advice.recipe}")
    for line in reasons(advice):
        display.say(line)
    config = configured(advice)
    if data.channels is None and advice.channels == split.train.spec.channels:  # their own: named, it would have them decoded once more
        config = replace(config, data=replace(config.data, channels=None))
    return config


def _without(words: list[str], option: str, value: str) -> list[str]:
    """The words without an option that has this value."""
    at = words.index(option) if option in words else None
    return [w for w in words if w != f"{option}={value}"] if at is None else [*words[:at], *words[at + 2 :]]


def _either(words: list[str], place: str) -> str | None:
    """What a setting is given as, by its place or by its short name."""
    return next((value for spelled in (f"--{place}", option(place)) if (value := _value(words, spelled))), None)


def _number(word: str | None) -> str | int | float | None:
    """A word as the number that it is."""
    if word is not None:
        for kind in (int, float):
            with contextlib.suppress(ValueError):
                return kind(word)
    return word


def _with_networks(default: Config, words: list[str]) -> Config:
    """The settings with the networks that ``words`` ask for in the place of the default's, each with its own usual settings."""
    model: Any = default.model
    for name, hint in get_type_hints(type(model), include_extras=True).items():
        kinds = choices(hint)
        if len(kinds) > 1:
            own = getattr(model, name)
            option = f"--model.{name}.{tag_of(type(own))}"
            asked = _value(words, option)
            if asked is not None and asked not in kinds:
                raise UserError(f"{option}: {asked!r} is none of {', '.join(map(str, kinds))}")
            if asked is not None and not isinstance(own, kinds[asked]):
                model = replace(model, **{name: kinds[asked]()})
    return replace(default, model=model)


def _config_in(file: Path) -> Config:
    """A configuration by itself, or the one inside a run's config.json."""
    try:
        whole = parse_json(read_bytes(file, JSON_BYTES))
        return checked(Config, earlier.config(whole.get("config", whole)))
    except OSError as error:
        raise UserError(f"cannot read --config {file}: {error.strerror or error}") from None
    except ValueError as error:
        raise UserError(f"--config {file} is no configuration: {error}") from None
    except UserError as error:
        raise UserError(f"--config {file}: {error}") from None


def _value(words: list[str], option: str) -> str | None:
    for index, word in enumerate(words):
        if word.startswith(option + "="):
            return word[len(option) + 1 :]
        if word == option and index + 1 < len(words):
            return words[index + 1]
    return None


def _use(result: Result, run: str) -> str:
    """How the model is put to work."""
    command = result.run.use()
    if command is None:
        return f"draw     calotype sample {run} --count 64 --out grid.png"
    return f"use      calotype {command} {run} IN OUT"


def _tell(result: Result, report: Report | None, as_json: bool) -> None:
    folder = result.run.folder
    grids = result.run.grids()
    grid, page = str(grids[-1][1]) if grids else None, folder / "report" / "report.html"
    if as_json:
        facts = {"run": str(folder), "step": result.step, "steps": result.steps, "seconds": round(result.seconds, 2), "grid": grid}
        facts |= {"complete": result.complete, "report": str(page) if report else None, "status": report.status if report else None}
        print(json.dumps(facts))
        return
    quoted = shlex.quote(str(folder))
    if result.complete:
        if report:
            print(text(report) + "\n")
        print(f"trained {result.steps:,} steps in {duration(result.seconds)}")
        if grid:
            print(f"  samples  {grid}")
        if report:
            print(f"  report   {page}")
        print(f"  run      {folder}")
        if grid:
            print(f"  {_use(result, quoted)}")
            print(f"  judge    calotype evaluate {quoted}")
    else:
        print(f"stopped at step {result.step:,} of {result.steps:,}; all of it is saved. Continue with")
        print(f"  calotype train --resume {quoted}")
