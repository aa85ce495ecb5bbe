"""Remedies: what is known to help against a trouble, as settings, and as the words that name them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace

from calotype.spelling import as_options


@dataclass(frozen=True)
class Remedy:
    """One piece of advice. Whether it can be taken is a matter of the other fields; nothing depends on the words of ``says``."""

    says: str  # settings between backticks, with the value to give them where there is one: "`model.free_bits=0.1`"
    settings: Mapping[str, object] = field(
        default_factory=dict, hash=False
    )  # the values that it gives, by full names: {"model.free_bits": 0.1}
    changes: tuple[str, ...] = ()  # full names of settings that it changes to no value in particular
    recipe: str = ""  # that it trains instead
    option: str = ""  # of sampling that it needs
    longer: bool = False  # whether it is to go on training
    harms: tuple[str, ...] = ()  # recipes that it was found to make worse
    given: Mapping[str, object] = field(default_factory=dict, hash=False)  # settings, by full names, without which it changes nothing
    small_gray: bool | None = None  # of which images it was found to help: small gray ones such as digits, or others; None for both

    @property
    def text(self) -> str:
        """The words, with settings as the options of a command."""
        return as_options(self.says)

    def fits(self, judged: Judged) -> bool:
        """Whether what is judged can take it, and has not taken it yet."""
        asked = (*self.settings, *self.changes)
        if (self.recipe and self.recipe == judged.recipe) or judged.recipe in self.harms:
            return False
        if self.small_gray is not None and self.small_gray != judged.small_gray:
            return False
        if self.option and f"model.{self.option}" not in judged.model:
            return False
        if any(name.startswith("model.") and name not in judged.model for name in asked):
            return False
        if not judged.labels and "model.conditional" in asked:
            return False
        known = {**judged.run, **judged.model}
        if any(known.get(name) != value for name, value in self.given.items()):
            return False
        return bool(self.changes) or not self.settings or any(name not in known or known[name] != v for name, v in self.settings.items())


@dataclass(frozen=True)
class Judged:
    """What is judged, as far as remedies depend on it."""

    model: Mapping[str, object]  # settings of the model by their full names: it cannot take others, nor what it has taken already
    recipe: str = ""  # its own, which is no advice
    run: Mapping[str, object] = field(default_factory=dict)  # further settings of its training by their full names, as far as known
    labels: bool = True  # whether its images have classes, without which none can be learned
    small_gray: bool = True  # whether its images are like digits, on which recipes differ in other ways than on photographs


def model_settings(config: object) -> dict[str, object]:
    """The settings of a model by their full names, those of its networks included."""
    return dict(_flat(config, "model."))


def sets(settings: Mapping[str, object], why: str = "") -> Remedy:
    """Give settings these values."""
    return Remedy(" ".join(f"`{name}={_written(value)}`" for name, value in settings.items()) + why, settings)


def changes(how: str, name: str, why: str = "") -> Remedy:
    """Change a setting some way: "a larger `model.width`"."""
    return Remedy(f"{how} `{name}`{why}", changes=(name,))


def trains(recipe: str, why: str = "", small_gray: bool | None = None) -> Remedy:
    """Train another recipe; ``small_gray`` says which images it was found to be better for."""
    return Remedy(f"`calotype train {recipe}`{why}", recipe=recipe, small_gray=small_gray)


LONGER = replace(changes("a longer", "train.minutes"), longer=True)
SHORTER = changes("a shorter", "train.minutes")


def _written(value: object) -> str:
    return f"({', '.join(map(str, value))})" if isinstance(value, Sequence) and not isinstance(value, str) else str(value)


def _flat(settings: object, prefix: str) -> Iterator[tuple[str, object]]:
    for name, value in (settings if isinstance(settings, Mapping) else vars(settings)).items():
        if is_dataclass(value) or isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
