"""What the imports of all modules must keep to: read from their source, those within functions included.

Rooms above the models ask what a model can do, and never which family it is of; and no modules import each other in a circle, which the
order of the rooms (``lint-imports``) keeps from happening between rooms alone. A network is made of shared blocks, never of parts of
another, and one module alone reads models from files.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import calotype
from calotype import models

ROOT = Path(calotype.__file__).parent
ROOMS = ("cli", "detect", "diagnose", "engine", "explanation", "metrics", "report", "serve", "tasks")
FAMILIES = {model.__name__ for model in models.MODELS.values()} | {config.__name__ for config in models.MODELS}
NEUTRAL = {
    "calotype.models",  # builds what a configuration describes, whatever that is; of it no names of families, see below
    "calotype.models.stored",  # the one reader of models in files
}
EXCEPTIONS = {
    # the digits recognizer that the package carries is a classifier whose weights are read from a resource, not from a run
    ("metrics/features_kinds.py", "calotype.models.classifier"),
}
BLOCKS = {"backbone", "blocks", "body", "hooks", "norms", "posterior", "transformer"}  # of networks/: what several networks are made of
BLOCKS |= {"adversary", "conditional_norm", "equalized", "resampling", "residual", "self_attention"}
BLOCKS |= {"efficientnet", "published", "recognizer"}  # and whole ones that nobody trains, through which others see
WEIGHTS = {  # who reads files of tensors, and of what
    "models/stored.py": "models",
    "metrics/features_kinds.py": "the recognizer of digits inside the package",
    "networks/published.py": "published weights that a package carries",
    "metrics/features_pretrained.py": "published weights, known by their SHA-256",
    "metrics/features_cache.py": "features of real images",
    "detect/detector.py": "detectors",
    "engine/calibrating.py": "the directions of images that a classifier knows, beside its weights",
    "engine/checkpoint.py": "checkpoints",
    "engine/distributed.py": "tensors that another process of the same training sent, in memory",
}
FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def imported(source: str, package: str, *, running: bool = False) -> Iterator[tuple[str, str]]:
    """Every (module, name) that a file imports at any depth; the name is empty for ``import module``.

    Those under ``if TYPE_CHECKING`` never run, and are left out where ``running`` asks for the others alone.
    """
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if running and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((module, alias.name) for alias in node.names)


def families_in(source: str, package: str) -> set[str]:
    """The modules of families, and names of families, that a file imports."""
    found = set()
    for module, name in imported(source, package):
        whole = f"{module}.{name}"
        if module == "calotype" and name == "models":
            found.add("calotype.models as a whole")
        elif module == "calotype.models" and name and whole not in NEUTRAL:
            if name in FAMILIES or name.endswith("Sampling") or (ROOT / "models" / f"{name}.py").is_file():
                found.add(whole)
        elif module.startswith("calotype.models.") and module not in NEUTRAL:
            found.add(module)
    return found


def borrowed(source: str) -> set[str]:
    """The modules of ``networks`` that a file imports and that are no shared blocks."""
    whole = [module if module != "calotype.networks" else f"{module}.{name}" for module, name in imported(source, "calotype.networks")]
    return {module for module in whole if module.startswith("calotype.networks.") and module.split(".")[2] not in BLOCKS}


def readers() -> set[str]:
    """The files that import what reads tensors: safetensors but for ``save``, and ``torch.load``."""
    found = set()
    for path in ROOT.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        names = {name for module, name in imported(source, "calotype") if module.split(".")[0] == "safetensors"}
        if names - {"save", "SafetensorError"} or "torch.load(" in source:
            found.add(path.relative_to(ROOT).as_posix())
    return found


def graph() -> dict[str, set[str]]:
    """The modules of the package that each of its modules imports, but for annotations alone."""
    files = {".".join(("calotype", *p.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): p for p in ROOT.rglob("*.py")}
    found = {}
    for name, path in files.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        pairs = imported(path.read_text(encoding="utf-8"), package, running=True)
        needed = {whole if (whole := f"{module}.{given}") in files else module for module, given in pairs}
        found[name] = {other for other in needed if other in files} - {name}
    return found


def circle(needs: Mapping[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, the first of them once more at the end; empty where there are none."""
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    needs = graph()
    assert len(needs) > 200
    assert "calotype.types" in needs["calotype.tasks.sample"]
    assert circle(needs) == []


def test_a_circle_is_seen() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) in (["b", "c", "b"], ["c", "b", "c"])


@pytest.mark.parametrize("path", sorted((ROOT / "networks").glob("*.py")), ids=lambda path: path.stem)
def test_no_network_is_made_of_parts_of_another(path: Path) -> None:
    assert borrowed(path.read_text(encoding="utf-8")) == set()


def test_a_borrowed_part_is_seen() -> None:
    assert borrowed("from calotype.networks.unet import Block") == {"calotype.networks.unet"}
    assert borrowed("from calotype.networks import unet\nfrom .dit import DiT") == {"calotype.networks.unet", "calotype.networks.dit"}
    assert borrowed("from calotype.networks.norms import ChannelNorm\nfrom calotype.networks import blocks") == set()


def test_models_in_files_have_one_reader() -> None:
    assert readers() == WEIGHTS.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_room_above_the_models_knows_a_family(path: Path) -> None:
    place = path.relative_to(ROOT)
    known = families_in(path.read_text(encoding="utf-8"), f"calotype.{place.parts[0]}")
    assert known - {module for file, module in EXCEPTIONS if file == place.as_posix()} == set()


def test_the_exceptions_are_still_needed() -> None:
    for file, module in EXCEPTIONS:
        assert module in families_in((ROOT / file).read_text(encoding="utf-8"), f"calotype.{Path(file).parts[0]}")


@pytest.mark.parametrize(
    "line",
    [
        "from calotype.models.gan import GAN",
        "import calotype.models.gan",
        "from calotype.models import Colorizer",
        "from calotype.models import build, DiffusionConfig",
        "from calotype.models import gan",
        "from calotype import models",
        "from ..models.gan import GAN",
        "if TYPE_CHECKING:\n    from calotype.models.gan import GAN",
        "def late():\n    from calotype.models.diffusion import Diffusion",
    ],
)
def test_every_way_of_importing_a_family_is_seen(line: str) -> None:
    assert families_in(line, "calotype.tasks")


@pytest.mark.parametrize(
    "line", ["from calotype.models import MODELS, build, stored", "from calotype.models.stored import find", "import torch"]
)
def test_what_is_the_same_for_all_families_is_allowed(line: str) -> None:
    assert not families_in(line, "calotype.tasks")
