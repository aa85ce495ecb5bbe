"""The card of a model shows text from outside as it is, does nothing with it, and says nothing of where files lay."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from calotype.config import Data
from calotype.engine.model_card import markdown, model_card
from calotype.engine.run import Run
from calotype.errors import printable
from calotype.models import build
from calotype.types import ImageSpec
from tests.small import small, spec_of

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "b](javascript:alert(1)) **x** `c`\n# heading",
    "\x1b[31mred\x1b]0;title\x07",
    "[link](http://evil)",
    "![image](http://evil)",
    "<http://evil> &lt;b&gt; &#60;",
    "http://evil www.evil.com me@evil.com",
    "``` \\` ~~gone~~ __bold__ *it* | $x$ ==y== ^[note] :tada:",
    "\\",
    "- 1. + > # ===",
    "\u202egnp.exe",
)


class Seen(HTMLParser):
    """What a browser would show of a page, and the elements that it is made of."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def rendered(text: str) -> Seen:
    return Seen(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text))


@pytest.mark.parametrize("name", HOSTILE)
def test_text_from_outside_is_shown_as_it_is(name: str) -> None:
    for around in ("a {} z", "- list: {}, more", "# on {}", "x ({})"):
        seen = rendered(around.format(markdown(name)))
        assert set(seen.tags) <= {"p", "ul", "li", "h1"}
        assert " ".join(printable(name).split()) in " ".join(seen.text.split())
    assert not re.search(r"(?<!\\)(www\.|://|@)", markdown(name))  # what makes links of bare addresses


def test_a_long_name_is_cut() -> None:
    assert len(rendered(markdown("x" * 10**6)).text.strip()) == 100


def test_a_card_holds_names_and_no_place(tmp_path: Path) -> None:
    config = small("gan")
    config = replace(config, data=Data(source=str(tmp_path / "secret" / "My [photos]")))
    spec = ImageSpec(8, 1, HOSTILE)
    card = model_card(config, spec, build(config.model, spec), 3)
    seen = rendered(card)
    assert set(seen.tags) <= {"h1", "p", "ul", "li", "pre", "code"}
    assert seen.tags.count("code") == 3  # the two files, and the command
    assert card.startswith("# gan on my-photos\n")
    assert "secret" not in card
    assert "http" not in card.replace("http\\:", "")  # no page that does not exist
    assert "11 classes" in card
    assert printable(HOSTILE[0]) in seen.text


@pytest.mark.parametrize("recipe", ["gan", "denoise", "cyclegan", "classifier"])
def test_nothing_in_an_exported_model_says_where_its_images_were(recipe: str, tmp_path: Path) -> None:
    config, spec = small(recipe), spec_of(recipe)
    place = tmp_path / "private" / "photos.zip"
    hidden = replace(config, data=replace(config.data, source=str(place), partner=config.data.partner and str(place)))
    Run(tmp_path).export(build(config.model, spec), hidden, spec, 1, tmp_path / "model")
    for file in (tmp_path / "model").iterdir():
        assert b"private" not in file.read_bytes()


def test_a_card_says_what_became_of_images_that_are_not_square() -> None:
    config, spec = small("gan"), spec_of("gan")
    model = build(config.model, spec)

    def card(**data: Any) -> str:
        return model_card(replace(config, data=Data(**data)), spec, model, 3)

    assert "- images that were not square: the middle square of each is kept (--data.fit crop)" in card(source="/photos")
    assert "black borders" in card(source="photos.zip", fit="pad")
    assert not any("square" in card(source=source) for source in ("mnist5k", "cifar10", "photos.calotype"))
