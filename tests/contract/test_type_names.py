"""One name, one thing: no class is called like another class or type of the package."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import calotype

ROOT = Path(calotype.__file__).parent
EXCEPTIONS = {
    "Options",  # of each command, beside the `run` that takes them: never imported, and named by their module wherever they are read
}


def types(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Each public class and alias of a module: its name and what it stands for, which is nothing but itself for a class."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield node.name, ""
        elif isinstance(node, ast.Assign) and isinstance(name := node.targets[0], ast.Name) and not isinstance(node.value, ast.Call):
            yield name.id, ast.unparse(node.value)


def twice(sources: dict[str, str]) -> dict[str, list[str]]:
    """The names of types that mean several things, with the files that define them."""
    files, meanings = defaultdict(list), defaultdict(list)
    for file, source in sources.items():
        for name, meaning in types(ast.parse(source)):
            if name[0].isupper() and not name.isupper():
                files[name].append(file)
                meanings[name].append(meaning or file)
    return {name: files[name] for name, several in meanings.items() if len(set(several)) > 1}


def test_names_that_mean_two_things_are_found() -> None:
    same = {"a.py": "class Apart: ...\nDoubles = NDArray[np.float64]", "b.py": "class _Apart: ...\nDoubles = NDArray[np.float64]"}
    assert twice(same) == {}  # a short name for the same array twice is no harm
    assert twice({**same, "c.py": "Apart = int", "d.py": "Doubles = float"}) == {
        "Apart": ["a.py", "c.py"],
        "Doubles": ["a.py", "b.py", "d.py"],
    }


def test_no_class_is_called_like_another() -> None:
    found = twice({str(path.relative_to(ROOT)): path.read_text() for path in sorted(ROOT.rglob("*.py"))})
    assert {name: files for name, files in found.items() if name not in EXCEPTIONS} == {}
    assert found.keys() >= EXCEPTIONS, "an exception that is none any more"
