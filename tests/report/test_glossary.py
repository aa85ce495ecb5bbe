"""Every term of a page is explained on that page, from one table that the docs repeat."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from calotype.degrade import classical, parse
from calotype.diagnose.restored import MODEL
from calotype.diagnose.verdict import RANK, Verdict
from calotype.evaluation.result import VERDICTS, PsnrAtSigma, Report, Restoration
from calotype.metrics.features import coarse, pick
from calotype.metrics.table import by_name
from calotype.metrics.wording import space_in_words
from calotype.models import build
from calotype.recipes import RECIPES
from calotype.report import glossary
from calotype.report.compare import compare_html
from calotype.report.glossary import QUESTIONS, TERMS, anchor, term_of, terms_in
from calotype.report.page import html
from calotype.report.text import explain
from calotype.types import ImageSpec, Noise
from tests.report.test_page import Page, fd, whole
from tests.small import small, spec_of

DOCS = Path(__file__).parents[2] / "docs" / "glossary.md"

METRICS = tuple(by_name())


def test_the_docs_hold_the_glossary() -> None:
    assert DOCS.read_text(encoding="utf-8") == glossary.text()


def test_terms_are_different_and_have_places_of_their_own() -> None:
    names = [term for group in glossary.GLOSSARY.values() for term in group]
    assert len(names) == len(set(names)) == len(TERMS)
    assert len({anchor(name) for name in names}) == len(names)
    assert all(said.endswith((".", "?", ")")) for said in TERMS.values())


def test_every_verdict_status_and_score_is_explained() -> None:
    for name in (*VERDICTS, *RANK, *METRICS):
        assert term_of(name) == name
    assert set(QUESTIONS) == set(VERDICTS)
    assert all(explain(fd(1.0, name=name)) for name in (*METRICS, "FD, a2b", "PSNR, b2a"))
    assert explain(fd(1.0, name="bananas")) == ""


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_kind_of_likelihood_is_explained(name: str) -> None:
    model = build(small(name).model, spec_of(name))
    for way in model.likelihoods():
        for told in (way.kind, f"{way.kind}, given the class"):
            assert term_of(told) in glossary.LIKELIHOODS


def test_every_feature_space_has_a_name_for_people() -> None:
    color = ImageSpec(16, 3)
    spaces = [*pick("digits", ImageSpec(28, 1)), *pick("random", color), coarse(color)]
    spoken = [space_in_words(space.label) for space in spaces]
    spoken += [space_in_words("mean of " + ", ".join(space.label for space in pick("random", color))), space_in_words("pixels")]
    spoken += [
        space_in_words(f"{name}@1a2b3c4d, some layer, 768")
        for name in ("inception", "dinov2", "photos", "photos-full", "classifier-photos-0001")
    ]
    for words in spoken:
        assert "@" not in words
        assert any(term in glossary.SPACES for term, _ in terms_in(words)) or term_of(words) in glossary.SPACES, words


@pytest.mark.parametrize("damage", ["noise:25", "blur:2", "downsample:2", "mask:box", "jpeg:20", "dark:2-4"])
def test_every_classical_method_is_explained(damage: str) -> None:
    degradation = parse(damage)
    image = Noise(1, 0).uniform(3, 32, 32) * 2 - 1
    for name in classical.baselines(degradation(image, Noise(1, 1)), degradation, (32, 32)):
        assert term_of(name) in glossary.METHODS, name


def linked(page: Page) -> set[str]:
    return {str(a["href"]) for a in page.all("a") if a.get("class") == "term"}


def restorer() -> Report:
    from calotype.evaluation.result import Method
    from calotype.metrics.score import Estimate

    methods = (Method(MODEL, Estimate(25.0), Estimate(0.8)), Method("nl-means", Estimate(24.0), Estimate(0.7), Estimate(1.0)))
    each = {MODEL: (25.0, 25.0), "nl-means": (24.0, 24.0)}
    found = Restoration("noise:25", "RGB", ("a", "b"), methods, each, (PsnrAtSigma(25.0, {"told": 25.0, "nl-means": 24.0}),))
    return Report("denoiser", restoration=found, verdicts=(Verdict("harm", "PASS", "No image came out worse than it went in."),))


@pytest.mark.parametrize(
    "source", [html(whole()), compare_html([whole("a"), whole("b")]), html(restorer())], ids=["one", "two", "restorer"]
)
def test_each_term_leads_to_its_meaning_on_the_page_and_no_other_is_there(source: str) -> None:
    page = Page(source)
    there = {f"#{a['id']}" for a in page.all("div") if str(a.get("id", "")).startswith("word-")}
    assert linked(page)
    assert linked(page) == there
    assert not page.all("abbr")  # what only a mouse can open


def test_the_names_of_scores_and_verdicts_lead_to_their_meaning() -> None:
    report = whole()
    there = linked(Page(html(report)))
    for name in (*(s.name for s in report.scores), *(v.name for v in report.verdicts if v.evidence)):
        assert f"#{anchor(name)}" in there, name
    assert f"#{anchor('PSNR')}" in linked(Page(html(restorer())))
    assert f"#{anchor('nl-means')}" in linked(Page(html(restorer())))


def test_symbols_in_sentences_lead_to_their_meaning() -> None:
    said = "It takes 60% of training images for real (r_t 0.20): 3 nats, sigma 25."
    page = Page(html(Report("x", verdicts=(Verdict("blur", "FAIL", "Bad.", evidence=said),))))
    assert {f"#{anchor(word)}" for word in ("r_t", "nats", "sigma", "training images")} <= linked(page)
    assert said in page.text.replace(" ,", ",").replace("( ", "(").replace(" :", ":")


def test_a_word_that_is_part_of_another_is_no_term() -> None:
    assert terms_in("--model.discriminator-norm sigmas recalled") == [(None, "--model.discriminator-norm sigmas recalled")]
    assert [term for term, _ in terms_in("Frechet distance (FD), then FD again") if term] == ["FD"]


def test_pages_show_no_label_of_a_feature_space_but_where_it_was_measured() -> None:
    label = "mean of random1@cc7443f5, pooled, 64, random2@74600846, pooled, 64, random3@b11b0437, pooled, 64"
    report = Report("x", scores=(fd(1.0).__class__("FD", 1.0, (0.5, 1.5), 0.5, 10, 10, label, "lower"),), protocol={"features": label})
    source = html(report)
    assert source.count("cc7443f5") == 1
    assert source.index("cc7443f5") > source.index('id="repeat"')
    assert "three" in Page(source).text
    assert re.search(r"random networks</a>", source)


def test_images_of_every_kind_make_a_page_with_words() -> None:
    """The last part of a page is the meaning of its words, whatever else there is."""
    bare = Page(html(Report("x", pictures=whole().pictures)))
    assert [a["id"] for a in bare.all("section")][-1] == "words"
    assert all(a.get("href") for a in bare.all("a"))
