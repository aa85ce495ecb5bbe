"""Options from dataclasses by tyro, with its words for values and its errors brought to ours: one line, said once."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_type_hints

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from calotype.errors import UserError
from calotype.settings import value

T = TypeVar("T")
_CONFIG = (tyro.conf.FlagCreatePairsOff, tyro.conf.AvoidSubcommands)
_RENAMED = {"--data.turn": "--data.rot90"}  # options of earlier versions that look like none of today
_OPTION = re.compile(r"--[a-z][a-z0-9_.-]*", re.IGNORECASE)


def parse(kind: type[T], words: Sequence[str], prog: str, default: T | None = None) -> T:
    """The options in ``words`` as a dataclass; ``--help`` prints and exits; `UserError` for anything that does not fit."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            options = _parsed(kind, words, prog, default)
    except SystemExit as stop:
        if stop.code == 0:
            raise
        said = _one_line(complaint.getvalue(), prog.split(" [")[0])
        raise UserError(_explained(said, words, prog, usage(kind, prog), lambda: _options(kind, prog, default))) from None
    _require_ranges(options, "")
    return options


def run_subcommand(words: Sequence[str], name: str, help_text: str, commands: Mapping[str, Callable[[list[str]], int]]) -> int:
    """Run the one of the commands of ``name`` that the first word names; without a word, or asked for help, print what there is."""
    if not words or words[0] in ("-h", "--help"):
        print(help_text)
        return 0
    if words[0] not in commands:
        *others, last = commands
        raise UserError(f"unknown command '{name} {words[0]}': choose {' or '.join(filter(None, (', '.join(others), last)))}")
    return commands[words[0]]([*words[1:]])


def _require_ranges(options: object, prefix: str) -> None:
    """Raise `UserError` for the first option out of the range that annotates its type, those of sections included."""
    hints = get_type_hints(type(options), include_extras=True)
    for field in dataclasses.fields(options):  # type: ignore[arg-type]
        name, given = prefix + field.name, getattr(options, field.name)
        if dataclasses.is_dataclass(given):
            _require_ranges(given, f"{name}.")
        else:
            value(name, given, hints[field.name])


def usage(kind: type, prog: str) -> str:
    """A command with the words that it takes in their order, those that may be left out in brackets."""
    hints = get_type_hints(kind, include_extras=True)
    words = [prog.split(" [")[0]]
    for field in dataclasses.fields(kind):
        marks = getattr(hints[field.name], "__metadata__", ())
        if tyro.conf.Positional in marks:
            name = next((mark.metavar for mark in marks if getattr(mark, "metavar", None)), field.name.upper())
            words.append(name if field.default is dataclasses.MISSING else f"[{name}]")
    return " ".join(words)


def _parsed(kind: type[T], words: Sequence[str], prog: str, default: T | None) -> T:
    about = _description(kind)
    if default is None:
        return tyro.cli(kind, args=list(words), prog=prog, description=about, config=_CONFIG, registry=_registry())
    return tyro.cli(kind, args=list(words), prog=prog, description=about, default=default, config=_CONFIG, registry=_registry())


def _description(kind: type) -> str:
    """The docstring with its examples, which tyro would leave out; indented lines are not joined."""
    text, _, examples = inspect.cleandoc(kind.__doc__ or "").partition("\nExamples:\n")
    return text + (f"\nExamples:\n{textwrap.indent(examples, '  ')}" if examples else "")


def _options(kind: type[T], prog: str, default: T | None) -> list[str]:
    """Every option that the help of ``kind`` lists."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        _parsed(kind, ["--help"], prog, default)
    lines = re.findall(r"^[│ ]{1,3}(-.*)", _plain(text.getvalue()), re.MULTILINE)  # what is indented further explains an option
    return sorted({name for line in lines for name in _OPTION.findall(line)})


def _one_line(box: str, command: str) -> str:
    """The words of tyro's framed message without its frame, title and closing hint."""
    lines = [line.strip("│╭╮╰╯ ") for line in _plain(box).splitlines()]
    said = [line for line in lines[1:] if not set(line) <= {"─", "-"} and not line.startswith("For full helptext")]
    text = " ".join(said).split("Argument helptext:")[0].replace(f"{command} --help", "").strip(" .,")
    return text[:1].lower() + text[1:] if text else "the options do not fit"


def _explained(said: str, words: Sequence[str], prog: str, whole: str, options: Callable[[], list[str]]) -> str:
    """What tyro said in our words; as it is, where it says something new."""
    command = prog.split(" [")[0]
    hint = f"{command} --help lists the options"
    if said.startswith("unrecognized options:"):
        return _unknown(said, words, prog, options(), hint)
    if found := re.match(r"missing value for argument '([^'/]+)[^']*'. Expected (\d+)", said):
        name = found[1] if found[1].startswith("-") else found[1].upper()
        return f"{name} needs " + ("a value" if found[2] == "1" else f"{found[2]} values") + f"; {hint}"
    if found := re.match(r"missing from .*?: ([A-Z]+)", said):
        return f"{found[1]} is missing: {whole}; {hint}"
    if found := re.match(r"missing from .*?: (--[a-z][a-z0-9.-]*)", said):
        return f"{found[1]} is missing; {hint}"
    if found := re.match(r"invalid choice '(.*)' for argument '([^'/]+)[^']*'. Expected one of \((.*)\)", said):
        choices = re.findall(r"'([^']*)'", found[3])
        return f"{found[2]}: {_none_of(found[1], choices)}"
    if found := re.match(r"error parsing ([^\s/:]+)[^\s:]*: Could not (?:parse|find).*?\[(.*?)\]", said):
        return f"{found[1]} cannot take {found[2].replace(',', '')}; {hint}"
    if found := re.match(r"error parsing ([^\s/:]+)[^\s:]*: (.*)", said):
        return f"{found[1]}: {found[2]}"
    return f"{said}; {hint}"


def _unknown(said: str, words: Sequence[str], prog: str, options: list[str], hint: str) -> str:
    """The first option that there is not, with the one that was meant; else the first word that belongs to no option."""
    strange = said.split(":", 1)[1].replace(" ", "")  # a frame breaks long words
    for word in words:
        name, equals, value = word.partition("=")
        if equals and name in options and strange == value.replace(" ", ""):
            return f"{name} takes no value; {hint}"
        if _OPTION.fullmatch(name) and name.replace("_", "-") not in options:
            near = (
                [o for o in options if o == _RENAMED.get(name)]
                or [o for o in options if o.endswith(f".{name[2:]}")][:1]
                or get_close_matches(name, options, n=1, cutoff=0.7)
            )
            return f"unknown option {name}: " + (f"did you mean {near[0]}?" if near else hint)
    known = [word for word in reversed(words) if word and word.replace(" ", "") in strange]
    stray = strange if strange in known or not known else known[0]
    if stray.startswith("-"):
        return f"unknown option {stray}: {hint}"
    if found := re.search(r"\[([A-Z]+)\]$", prog):
        command = prog.split(" [")[0]
        return f"{stray!r} belongs to no option; {found[1]} comes first, before all options: {command} {found[1]} --option value"
    return f"{stray!r} belongs to no option; {hint}"


def _none_of(value: str, choices: Sequence[str]) -> str:
    near = get_close_matches(value.lower(), choices, n=1)
    return f"{value!r} is none of {', '.join(choices)}" + (f" (did you mean {near[0]}?)" if near else "")


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _registry() -> ConstructorRegistry:
    """How words become values: what cannot be one is said in our words, and that an option may be left out is not said at all."""
    registry = ConstructorRegistry()

    @registry.primitive_rule
    def plain(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
        return _SPECS[info.type]() if info.type in (int, float, bool) else None

    @registry.primitive_rule
    def optional(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
        origin: Any = info.type_origin
        if origin not in (Union, UnionType) or NoneType not in get_args(info.type):
            return None
        kinds = [kind for kind in get_args(info.type) if kind is not NoneType]
        inner = PrimitiveTypeInfo.make(kinds[0], info.markers)
        literal: Any = inner.type_origin
        if len(kinds) != 1 or (inner.type not in (int, float, bool, str, Path) and literal is not Literal):
            return None
        spec = ConstructorRegistry.get_primitive_spec(inner)
        return _or_none(spec) if isinstance(spec, PrimitiveConstructorSpec) else None

    return registry


def _or_none(spec: PrimitiveConstructorSpec[Any]) -> PrimitiveConstructorSpec[Any]:
    def read(words: list[str]) -> Any:
        if words == ["None"]:
            return None
        if spec.choices is not None and words[0] not in spec.choices:
            raise ValueError(_none_of(words[0], spec.choices))
        return spec.instance_from_str(words)

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=spec.metavar,
        instance_from_str=read,
        is_instance=lambda x: x is None or spec.is_instance(x),
        str_from_instance=lambda x: ["None"] if x is None else spec.str_from_instance(x),
    )


def _whole(words: list[str]) -> int:
    try:
        return int(words[0])
    except ValueError:
        raise ValueError(f"{words[0]!r} is not a whole number") from None


def _number(words: list[str]) -> float:
    try:
        return float(words[0])
    except ValueError:
        raise ValueError(f"{words[0]!r} is not a number") from None


def _truth(words: list[str]) -> bool:
    said = words[0].lower()
    if said not in ("true", "false"):
        raise ValueError(f"{words[0]!r} is neither True nor False")
    return said == "true"


def _spec(metavar: str, read: Callable[[list[str]], T], *kinds: type) -> Callable[[], PrimitiveConstructorSpec[T]]:
    return lambda: PrimitiveConstructorSpec(1, metavar, read, lambda x: type(x) in kinds, lambda x: [str(x)])


_SPECS: dict[Any, Callable[[], PrimitiveConstructorSpec[Any]]] = {
    int: _spec("INT", _whole, int),
    float: _spec("FLOAT", _number, float, int),
    bool: _spec("{True,False}", _truth, bool),
}
