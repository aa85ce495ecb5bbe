"""The models of a service: what each can do, under ids that the service makes itself, opened when somebody first asks."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

from calotype.errors import UserError, printable
from calotype.serve.options import USUAL, NoiseOptions, PriorOptions, schema_of
from calotype.serve.refusal import Refusal

if TYPE_CHECKING:
    from calotype.detect.detector import Detector
    from calotype.serve.exploring import Move
    from calotype.tasks.classify import TrainedClassifier
    from calotype.tasks.sample import Generator

T = TypeVar("T")

ABILITIES = ("sample", "explore", "interpolate", "complete", "restore", "upscale", "colorize", "translate", "classify", "detect")
DETECTOR = "detector.safetensors"
OPENED = 8  # models in memory


class Memory:
    """Holds the models that were asked last, up to a number; others go as soon as nobody uses them."""

    def __init__(self, most: int = OPENED) -> None:
        self.most = most
        self._held: OrderedDict[tuple[int, str], Any] = OrderedDict()
        self._lock = threading.Lock()

    def hold(self, owner: Held, what: str, opened: Any) -> None:
        """Hold what is being asked, in the place of what has not been for longest."""
        key = id(owner), what
        with self._lock:
            self._held[key] = opened
            self._held.move_to_end(key)
            while len(self._held) > self.most:
                self._held.popitem(last=False)

    def forget(self, owner: Held) -> None:
        """Hold nothing more of an owner."""
        with self._lock:
            for key in [key for key in self._held if key[0] == id(owner)]:
                del self._held[key]


@dataclass
class Held:
    """A model on the shelf: what ``/v1/models`` says of it, and the way to the model itself."""

    id: str
    path: Path
    name: str
    facts: dict[str, Any]
    abilities: tuple[str, ...]
    device: str = "auto"
    one_pass: bool = True  # whether one pass of a network makes its images
    memory: Memory = field(default_factory=Memory)
    known: tuple[Move, ...] | None = None  # directions, once they were looked for
    _locks: dict[str, threading.Lock] = field(default_factory=lambda: defaultdict(threading.Lock))
    _opened: WeakValueDictionary[str, Any] = field(default_factory=WeakValueDictionary)  # who draws with one keeps it

    def require(self, ability: str) -> None:
        """Raise `Refusal` (400) where the model cannot do something."""
        if ability not in self.abilities:
            can = ", ".join(self.abilities) or "nothing that is asked for here"
            raise Refusal(400, f"{self.name} cannot {ability}: it can {can}", "id", can)

    def generator(self, lane: str = "quick") -> Generator:
        """The model, ready to draw: one for each lane, so that none runs what another looks into."""
        return self._once(f"generator {lane}", self._loaded)

    def directions(self) -> tuple[Move, ...]:
        """What its codes can be moved along, found once: by a model of its own, for it is looked into by hooks."""

        from calotype.serve.exploring import directions

        with self._locks["directions"]:
            if self.known is None:
                self.known = directions(self._loaded())
            return self.known

    def _loaded(self) -> Generator:
        from calotype.tasks.sample import load

        return _stoppable(load(self.path, self.device))

    def classifier(self) -> TrainedClassifier:
        """The model, ready to be asked what images show."""

        def opened() -> TrainedClassifier:
            from calotype.tasks.classify import open_classifier

            trained = open_classifier(self.path, self.device)
            _stoppable(trained.generator)
            return trained

        return self._once("classifier", opened)

    def detector(self) -> Detector:
        """The detector, ready to be asked."""

        def opened() -> Detector:
            from calotype.detect.detector import load

            return load(self.path)

        return self._once("detector", opened)

    def _once(self, what: str, opened: Callable[[], T]) -> T:
        with self._locks[what]:  # of its own: who draws does not wait for directions
            found: T | None = self._opened.get(what)
            if found is None:
                found = self._opened[what] = opened()
            self.memory.hold(self, what, found)
            return found


def _stoppable(generator: Generator) -> Generator:
    """A model that looks at the clock between its layers."""
    from calotype.serve.lanes import in_time

    for part in generator.model.modules():
        if next(part.children(), None) is None:
            part.register_forward_pre_hook(in_time)
    return generator


class Shelf:
    """All models, in the order in which they were named. They are looked at by `fill`, which takes as long as importing torch does."""

    def __init__(self, paths: tuple[Path, ...] = (), device: str = "auto", opened: int = OPENED) -> None:
        self.paths, self.device, self.memory = paths, device, Memory(opened)
        self.problem: Exception | None = None
        self._held: dict[str, Held] = {}
        self._filled, self._lock = threading.Event(), threading.Lock()

    @property
    def ready(self) -> bool:
        """Whether the models have been looked at."""
        return self._filled.is_set()

    def fill(self) -> None:
        """Look at all models that were named. Raises `UserError` for one that is none; whoever asks later is told the same."""
        try:
            for path in self.paths:
                self.add(path)
        except Exception as error:
            self.problem = error
            raise
        finally:
            self._filled.set()

    def add(self, path: Path) -> Held:
        """Put one more on the shelf, or find it there. Raises `UserError` for what is no model."""
        held = look_at(path, self.device)
        with self._lock:
            there = self._held.get(held.id)
            if there is not None and there.path == held.path:
                return there
            number, own = 1, held.id
            while held.id in self._held:
                number += 1
                held.id = f"{own}-{number}"
            held.memory = self.memory
            self._held[held.id] = held
        return held

    def remove(self, id: str) -> None:
        """Take one from the shelf."""
        with self._lock:
            held = self._held.pop(id, None)
        if held is not None:
            self.memory.forget(held)

    @property
    def models(self) -> list[Held]:
        """All of them; waits until they have been looked at. Raises `Refusal` (503) where one of them cannot be served."""
        self._wait()
        with self._lock:
            return list(self._held.values())

    def __getitem__(self, id: str) -> Held:
        """The model of an id. Raises `Refusal` (404) for an id that is none."""
        self._wait()
        with self._lock:
            found = self._held.get(id)
        if found is None:
            raise Refusal(404, "there is no such model: GET /v1/models lists them", "id")
        return found

    def _wait(self) -> None:
        self._filled.wait()
        if self.problem is not None:
            raise Refusal(503, f"the service ends, for its models cannot be served: {self.problem}")

    def of_weights(self, sha256: str) -> Held | None:
        """The first model of these weights."""
        return next((one for one in self.models if one.facts["sha256"] == sha256), None)


def look_at(path: Path, device: str = "auto") -> Held:
    """What a model is, without its weights. Raises `UserError` for what is no model."""
    from calotype.capabilities import HasDecoder
    from calotype.files import name_of, sha256
    from calotype.models import MODELS, stored

    name = printable(name_of(path))
    if (path / DETECTOR).is_file():
        weights = sha256(path / DETECTOR)
        facts: dict[str, Any] = {
            "recipe": "detector",
            "family": "detector",
            "size": None,
            "channels": None,
            "classes": ["REAL", "GENERATED", "CANNOT TELL"],
        }
        return _held(path, name, weights, facts, ("detect",), {}, device)
    found = stored.find(path)
    kind: Any = MODELS[type(found.config)]
    if found.spec.points is not None:
        raise UserError(f"{path} makes points of {found.spec.points.name}, which are no pictures: serve a model of images")
    weights = sha256(found.folder / stored.WEIGHTS)
    spec = found.spec
    facts = {
        "recipe": found.recipe,
        "family": found.config.kind,
        "size": spec.size,
        "channels": spec.channels,
        "classes": [printable(one) for one in spec.classes],
        "conditional": _conditional(kind, found.config, spec.classes),
    }
    able, options = abilities_of(kind, spec), schema_of(kind.sampling, found.config)
    facts |= {"prior": bool(kind.draws and not kind.from_source), "task_options": _task_options(kind, spec, able, options)}
    held = _held(path, name, weights, facts, able, options, device)
    held.one_pass = _has(kind, HasDecoder)
    return held


def _task_options(kind: Any, spec: Any, able: tuple[str, ...], options: dict[str, Any]) -> dict[str, Any]:
    """The schemas of the options of abilities that take others than samples do."""
    from calotype.capabilities import Completes

    none = schema_of(NoiseOptions, names=())
    if kind.from_source:
        noise = schema_of(NoiseOptions)["properties"] if "sigma" in spec.source.conditioning else {}
        own = {**options, "properties": {**options["properties"], **noise}}
        return {one: own if one != "complete" else options for one in able if one not in ("classify",)}
    found: dict[str, Any] = {}
    for one in able:
        if one in ("restore", "upscale", "colorize"):
            found[one] = schema_of(PriorOptions, PriorOptions(degrade=USUAL[one]))
        elif one == "complete":
            names = ("label",) if _has(kind, Completes) else ("samples", "steps", "method", "label")
            found[one] = schema_of(PriorOptions, names=names)
        elif one in ("explore", "interpolate"):
            found[one] = none
    return found


def _conditional(kind: Any, config: Any, classes: tuple[str, ...]) -> bool:
    """Whether a model may be asked for a class, as its configuration says; else as its family does."""
    return bool(classes and getattr(config, "conditional", kind.conditional is True))


def _held(
    path: Path, name: str, weights: str, facts: Mapping[str, Any], abilities: tuple[str, ...], options: dict[str, Any], device: str
) -> Held:
    own = hashlib.sha256(f"{name}\n{weights}".encode()).hexdigest()[:12]
    said = {"id": own, "name": name, **facts, "abilities": list(abilities), "options": options, "sha256": weights}
    return Held(own, path, name, said, abilities, device)


def abilities_of(kind: Any, spec: Any) -> tuple[str, ...]:
    """What a model of a family can do with images like ``spec``: what its protocols say."""
    from calotype.capabilities import Classifies, Completes, Denoises, HasLatents
    from calotype.engine.model_card import command_for

    able: set[str] = set()
    if kind.from_source and spec.source is not None:
        command = command_for(kind, spec.source)
        colors = command == "restore" and spec.source.channels < spec.channels
        able.add("colorize" if colors else command)
        if "mask" in spec.source.conditioning:
            able.add("complete")
    elif kind.draws:
        able.add("sample")
        if _has(kind, HasLatents):
            able |= {"explore", "interpolate"}
        if _has(kind, Completes):
            able.add("complete")
        if _has(kind, Denoises):  # other priors search for latents, which takes longer than a request may
            able |= {"complete", "restore", "upscale"} | ({"colorize"} if spec.channels == 3 else set())
    if _has(kind, Classifies) and spec.classes:
        able.add("classify")
    return tuple(one for one in ABILITIES if one in able)


def _has(kind: type, protocol: Any) -> bool:
    """Whether a class has all that a protocol asks for, properties included, without an instance of it."""
    names = {name for part in protocol.__mro__ for name in (*vars(part), *getattr(part, "__annotations__", {})) if not name.startswith("_")}
    return all(hasattr(kind, name) or name in getattr(kind, "__annotations__", {}) for name in names)
