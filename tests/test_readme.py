"""The README says the same in both of its languages, and what it points at is there."""

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ENGLISH, CHINESE = "README.md", "README.zh-CN.md"
FENCED = re.compile(r"^```\w*\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def prose(name: str) -> str:
    return FENCED.sub("", text(name))


def commands(name: str) -> list[str]:
    """The lines of all fenced blocks, without the comments behind them."""
    return [re.sub(r"(^|\s+)#.*", "", line) for block in FENCED.findall(text(name)) for line in block.splitlines()]


def rows(name: str) -> list[list[str]]:
    """The numbers of each row of each table."""
    return [re.findall(r"\d*[.,]?\d+(?:[.,]\d+)*%?", line) for line in prose(name).splitlines() if line.startswith("|")]


def links(name: str) -> list[str]:
    """Where links and pictures point, but for the link from each of the two files to the other."""
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", prose(name)) if target not in (ENGLISH, CHINESE)]


def test_commands_are_the_same() -> None:
    assert "calotype data check photos/" in commands(ENGLISH)
    assert len(commands(ENGLISH)) > 40
    assert commands(CHINESE) == commands(ENGLISH)


def test_code_within_sentences_is_the_same() -> None:
    code = {name: Counter(re.findall(r"`([^`\n]+)`", prose(name))) for name in (ENGLISH, CHINESE)}
    assert code[ENGLISH]["--resume"] == 1
    assert set(code[CHINESE]) - set(code[ENGLISH]) == {"docs/"}  # that only these are in English
    assert code[CHINESE] - Counter(["docs/"]) == code[ENGLISH]


def test_numbers_in_tables_are_the_same() -> None:
    assert ["279,396", ".078", ".046", ".109", ".952", ".945", "3.371", ".025", "10.1"] in rows(ENGLISH)
    assert rows(CHINESE) == rows(ENGLISH)


def test_links_are_the_same() -> None:
    assert Counter(links(CHINESE)) == Counter(links(ENGLISH))


def test_sections_are_as_many_at_the_same_places() -> None:
    """A section is known by the commands and links before it."""
    parts = {
        name: re.split(r"^## ", FENCED.sub(lambda found: found[0].replace("#", ""), text(name)), flags=re.MULTILINE)
        for name in (ENGLISH, CHINESE)
    }
    counts = {name: [(len(FENCED.findall(part)), len(re.findall(r"\]\(", part))) for part in parts[name]] for name in parts}
    assert len(parts[ENGLISH]) > 5
    assert counts[CHINESE] == counts[ENGLISH]


@pytest.mark.parametrize("name", [ENGLISH, CHINESE])
def test_what_is_linked_is_there(name: str) -> None:
    local = [target.partition("#")[0] for target in links(name) if "://" not in target]
    assert "docs/images/demo.png" in local
    assert [target for target in local if not (ROOT / target).is_file()] == []


def test_each_links_to_the_other_at_its_beginning() -> None:
    for name, other in ((ENGLISH, CHINESE), (CHINESE, ENGLISH)):
        assert f"]({other})" in "".join(text(name).splitlines()[:4])
