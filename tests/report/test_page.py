"""The page: whole, self-contained, honest about what it does not know, and deaf to markup in names."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from calotype.diagnose.remedy import Remedy, sets
from calotype.diagnose.verdict import Verdict, cannot_tell, not_applicable
from calotype.evaluation.result import (
    VERDICTS,
    ClassCounts,
    Event,
    Extrapolation,
    LadderRow,
    Neighbors,
    ReferenceData,
    Report,
    ReportImages,
    Series,
    Spectrum,
    TrainingCurves,
)
from calotype.metrics.score import Score
from calotype.report import plots
from calotype.report.html import SHEET_BYTES, alike, prose, sheet
from calotype.report.page import compare_html, html
from calotype.report.text import headline, tally, text
from calotype.spelling import pieces

EVIL = '<script>alert("$x$")</script>&amp; $\\frac #010203 url(#a) id="b" '
VOID = {"meta", "link", "img", "br", "path", "use", "rect"}


class Page(HTMLParser):
    """Everything a test wants to know of a page; fails on elements that are not closed in order."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self._tables: list[list[int]] = []
        self.feed(source)
        self.close()
        assert self._open == []
        for rows in self._tables:
            assert len(set(rows)) == 1  # every row has as many cells as the head

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self._tables.append([])
        elif tag == "tr":
            self._tables[-1].append(0)
        elif tag in ("th", "td"):
            self._tables[-1][-1] += 1

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


R1, FLIP = sets({"model.penalty": "r1"}), sets({"data.flip": True})


def fd(value: float, half: float | None = 0.5, name: str = "FD", kind: str = "lower", n: int = 500, baseline: float | None = 1.0) -> Score:
    return Score(
        name, value, None if half is None else (value - half, value + half), baseline, n, 900, "digits@1a2b, penultimate, 64", kind
    )


def pixels(count: int, size: int = 12, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, channels), np.uint8)


def whole(subject: str = "dcgan-0001", size: int = 12, channels: int = 1) -> Report:
    """A report with all of its parts."""
    images = pixels(64, size, channels)
    near = Neighbors(images[:4], images[4:8], images[8:12], (1.0, 2.0, 3.0, 4.0), (1.5, 2.5, 3.5, 4.5), "digits@1a2b")
    verdicts = [Verdict("blur", "PASS", "As sharp as real images.", 0.01, 0.4, 0.05, "power 0.99")]
    verdicts += [Verdict("copying", "WARN", "Closer than chance.", 0.02, 0.03, 0.01, "60%", (Remedy("more images"), FLIP))]
    verdicts += [Verdict("mode-collapse", "FAIL", "Hardly makes: b.", 0.3, 0.0001, 0.05, "coverage 0.5", (R1,))]
    verdicts += [cannot_tell("oscillation", "No samples of earlier checkpoints.")]
    steps = tuple(range(0, 1000, 10))
    series = tuple(Series(name, steps, tuple(float(i % 7 + 1) for i in range(100))) for name in ("g/loss", "d/loss", "g/gradient_norm"))
    line = tuple(np.linspace(1, 0.1, 5).tolist())
    return Report(
        subject=subject,
        scores=(fd(8.0), fd(0.7, 0.02, "coverage", "higher", baseline=0.97), fd(0.8, None, "precision", "match", baseline=0.9)),
        verdicts=tuple(verdicts),
        about={"model": "gan"},
        data=ReferenceData("mnist5k", 4500, 500, "ab" * 32, "cd" * 32),
        protocol={"reference": "900 training images"},
        versions={"calotype": "0.1.0"},
        command="calotype evaluate runs/dcgan-0001",
        recipe="dcgan",
        train_seed=0,
        notes=("N is small",),
        pictures=ReportImages(images, images[::-1].copy(), near, near),
        curves=TrainingCurves(series, (Event(500, "went back to step 400", "rollback"),)),
        classes=ClassCounts(("a", "b"), (490, 10), (250, 250), ((0.96, 0.99), (0.01, 0.04)), "digits@1a2b"),
        spectrum=Spectrum((0.1, 0.2, 0.3, 0.4, 0.5), tuple(v * 0.8 for v in line), line, tuple(v * 1.2 for v in line), line),
        ladder=(LadderRow("blur of 1 pixel", {"FD": 20.0, "coverage": 0.4}), LadderRow("5% copies", {"FD": 1.1, "coverage": 0.97})),
        extrapolation=Extrapolation(((250, 10.0), (500, 8.0)), 6.0, 1000.0),
    )


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(html(whole()))


def test_the_page_holds_every_part(page: Page) -> None:
    sections = [a.get("id") for a in page.all("section")]
    assert sections == [
        "verdicts",
        "samples",
        "neighbors",
        "scores",
        "ladder",
        "sample-size",
        "classes",
        "detail",
        "training",
        "repeat",
        "words",
    ]
    for words in ("1 of 4 checks failed", "N is small", "went back to step 400", "5% copies", "--model.penalty r1", "ab" * 32):
        assert words in page.text


def test_the_page_loads_nothing_and_runs_nothing(page: Page) -> None:
    assert not page.all("script")
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "xlink:href"):
            target = attributes.get(name) or "#"
            assert target.startswith(("data:", "#")), (tag, target)
    styles = " ".join([html(Report("x")), *(a.get("style") or "" for _, a in page.tags)])
    assert not re.search(r"url\((?!#)|@import", styles)
    assert any("default-src 'none'" in (a.get("content") or "") for a in page.all("meta"))


def test_verdicts_stand_worst_first_with_their_word(page: Page) -> None:
    shown = [a["class"] for a in page.all("details")]
    assert shown == ["verdict is-fail", "verdict is-warn", "verdict is-cannot-tell", "verdict is-pass"]
    places = [page.text.index(word) for word in ("Hardly makes: b.", "Closer than chance.", "No samples of earlier", "As sharp as real")]
    assert places == sorted(places)
    assert page.text.count("CANNOT TELL") >= 2


def test_every_picture_has_words_for_those_who_cannot_see_it(page: Page) -> None:
    assert page.all("img")
    assert all(a.get("alt") for a in page.all("img"))
    drawings = [a for a in page.all("svg") if a.get("class") == "plot"]
    assert len(drawings) >= 8
    assert all(a.get("role") == "img" and a.get("aria-label") for a in drawings)
    assert all(a.get("scope") for a in page.all("th"))


def test_names_inside_the_page_are_unique(page: Page) -> None:
    names = [a["id"] for _, a in page.tags if "id" in a]
    assert len(names) == len(set(names))
    used = {match for _, a in page.tags for v in a.values() if v for match in re.findall(r"(?:url\(#|^#)([^)]+)", v)}
    assert used
    assert used <= set(names)


def test_colors_are_variables_of_the_style_sheet() -> None:
    source = html(whole())
    body = source[source.index("<body>") :]
    assert not re.search(r"(?:fill|stroke|color): ?#", body)
    used = set(re.findall(r"var\((--\w+)\)", source))
    assert {"--made", "--real", "--band", "--ink"} <= used
    defined = [set(re.findall(r"(--\w+):", block)) for block in re.findall(r":root \{(.*?)\}", source, re.S)]
    assert len(defined) == 3  # light, dark, paper
    assert all({"--made", "--real", "--band", "--ink", "--alert", "--fail", "--pass"} <= block for block in defined)


def test_the_same_report_gives_the_same_bytes() -> None:
    assert html(whole()) == html(whole())


def test_a_missing_part_is_left_out() -> None:
    bare = Page(html(Report("nothing")))
    assert [a.get("id") for a in bare.all("section")] == ["repeat", "words"]
    full, empty = whole(), Report("x")
    for part in ("curves", "classes", "spectrum", "data", "extrapolation", "scores", "verdicts", "ladder", "notes"):
        Page(html(replace(empty, **{part: getattr(full, part)})))
    Page(html(replace(full, scores=(), classes=None, spectrum=None, curves=None)))  # what other parts would point to
    some = replace(full.pictures, copies=None, reals=None, neighbors=Neighbors(pixels(2)))
    Page(html(Report("x", pictures=some)))


def test_numbers_that_are_none_become_words() -> None:
    odd = (fd(float("nan"), None), fd(2.0, None, "KID", baseline=None), fd(float("inf"), None, "recall", "match"))
    verdicts = (Verdict("blur", "WARN", "odd", float("nan"), float("nan"), float("inf")),)
    broken = TrainingCurves((Series("g/loss", (0, 1, 2), (1.0, float("nan"), 2.0)), Series("d/x", (0, 1), (float("nan"), float("nan")))))
    said = Page(html(replace(whole(), scores=odd, verdicts=verdicts, curves=broken))).text
    assert "unknown" in said
    assert not re.search(r"\bnan\b|\binf\b", said)


def test_names_in_drawings_are_neither_formulas_nor_markup() -> None:
    drawn = plots.classes(ClassCounts(("$x^2$ <b>", "plain"), (9, 1), (5, 5), ((0.5, 1.0), (0.0, 0.5))))
    assert ">$x^2$ &lt;b&gt;<" in drawn


def test_drawings_hold_no_date_and_no_tool() -> None:
    drawn = plots.strip(fd(1.0))
    assert not re.search("metadata|matplotlib|20[0-9][0-9]-", drawn)


def test_pictures_come_back_pixel_for_pixel() -> None:
    images = pixels(6, 9, 3)
    made = sheet(images, columns=3)
    assert made.uri.startswith("data:image/png;base64,")
    back = np.asarray(Image.open(io.BytesIO(base64.b64decode(made.uri.split(",")[1]))))
    assert (made.shown, made.width) == (6, back.shape[1])
    assert (back[11:20, 11:20, :3] == images[4]).all()
    assert (back[9:11, :, 3] == 0).all()  # gaps are transparent
    assert (back[:9, :9, 3] == 255).all()


def test_large_images_keep_the_page_small() -> None:
    made = sheet(pixels(64, 144, 3), 8)
    assert len(made.uri) < SHEET_BYTES * 4 / 3 + 50
    assert 8 <= made.shown < 64
    many, some = pixels(64, 144, 3), pixels(12, 144, 3)
    near = Neighbors(some, some, some)
    assert (
        len(html(Report("x", pictures=ReportImages(many, many, near, replace(near, holdout=None))))) < 2_700_000
    )  # the plots take the rest
    assert len(compare_html([Report(str(i), pictures=ReportImages(many)) for i in range(8)])) < 2_700_000


def test_generated_and_real_are_cut_down_alike() -> None:
    flat = np.zeros((64, 128, 128, 3), np.uint8)  # takes hardly any room
    made, real = alike([flat, pixels(64, 128, 3)], 8, (True, False))
    assert (made.shown, made.width) == (real.shown, real.width)
    assert real.shown < 64
    marked = [b"trainedAlgorithmicMedia" in base64.b64decode(one.uri.partition(",")[2]) for one in (made, real)]
    assert marked == [True, False]  # what a model drew says so


def test_many_classes_show_those_that_differ_most() -> None:
    names = tuple(f"class {i}" for i in range(40))
    generated = [100] * 40
    generated[31] = 0
    counts = ClassCounts(names, tuple(generated), (100,) * 40, tuple((g / 3900 * 0.8, g / 3900 * 1.2) for g in generated))
    drawn = plots.classes(counts)
    assert "class 31" in drawn
    assert drawn.count("class ") < 2 * 40
    assert "16 are left out" in Page(html(Report("x", classes=counts))).text


def test_one_long_curve_keeps_its_peak() -> None:
    values = [1.0] * 5000
    values[2345] = 777.0
    steps, thin = plots._thin(Series("g/loss", tuple(range(5000)), tuple(values)))
    assert len(steps) < 500
    assert max(thin) == 777.0
    assert steps[list(thin).index(777.0)] == 2345


def test_curves_that_belong_together_share_a_panel() -> None:
    names = ("discriminator/loss", "discriminator/d_real", "generator/loss", "d_real", "d_holdout", "d_accuracy", "once")
    log = TrainingCurves(tuple(Series(name, (0, 1)[: 1 if name == "once" else 2], (1.0, 2.0)) for name in names))
    found = {title: [s.name for s in lines] for title, lines in plots.panels_of(log).items()}
    assert found == {
        "loss": ["discriminator", "generator"],
        "what the discriminator says of images": ["real", "held out"],
        "accuracy of the discriminator": ["d_accuracy"],
    }
    assert list(plots.panels_of(log, ("accuracy",))) == ["accuracy of the discriminator"]


def test_settings_are_cut_out_of_remedies() -> None:
    assert pieces("`model.discriminator.minibatch_std=True`") == [(True, "--model.discriminator.minibatch-std True")]
    assert pieces("another recipe, such as `calotype train rpgan`")[1] == (True, "calotype train rpgan")
    assert pieces("`calotype train gan` `model.width=64` and more")[0] == (True, "calotype train gan --model.width 64")
    assert pieces("`train.ema=0.1` for smoother weights")[0] == (True, "--train.ema 0.1")
    assert pieces("a larger `count` of images")[1:] == [(True, "--count"), (False, " of images")]
    assert pieces("more images, not `a b`") == [(False, "more images, not `a b`")]


def test_settings_in_any_sentence_can_be_copied() -> None:
    assert prose("keep more with `log.checkpoints`. <b>") == (
        'keep more with <code><span class="nowrap">--log.checkpoints</span></code>. &lt;b&gt;'
    )


def test_tiny_chances_are_not_called_zero() -> None:
    said = Page(html(Report("x", verdicts=(Verdict("blur", "FAIL", "blurred", 1.0, 0.0),)))).text
    assert "p < 0.0001" in said
    assert "p = 0" not in said


def test_the_short_form_is_worst_first_and_names_the_page() -> None:
    said = text(whole(), "runs/a/report/report.html").splitlines()
    assert said[0].startswith("1 of 4 checks failed and 1 more gives a warning. 1 could not be answered")
    assert [line.split()[0] for line in said if "  " in line and line.strip().startswith(("FAIL", "WARN", "CANNOT", "PASS"))] == [
        "FAIL",
        "WARN",
        "CANNOT",
        "PASS",
    ]
    assert any("--model.penalty r1" in line for line in said)
    assert any(line.strip().startswith("FD") and "[7.5, 8.5], real images 1" in line for line in said)
    assert sum("by the digits recognizer: 500 generated images against 900 real ones" in line for line in said) == 1
    assert said[-1] == "report: runs/a/report/report.html"


def test_every_verdict_has_a_question() -> None:
    said = Page(html(Report("x", verdicts=tuple(cannot_tell(name, "why") for name in VERDICTS)))).text
    assert said.count("?") >= 10
    assert all(f"{name}?" not in said for name in VERDICTS)


def test_questions_that_a_family_is_not_asked_do_not_count() -> None:
    passed = Verdict("blur", "PASS", "As sharp as real images.")
    idle = tuple(not_applicable(name, "This family has no such thing.") for name in ("posterior-collapse", "likelihood-overfit"))
    report = Report("x", verdicts=(passed, *idle))
    assert (report.status, report.asked, headline(report)) == ("PASS", [passed], "No trouble was found.")
    assert tally(report) == [("PASS", 1)]
    said = Page(html(report)).text
    assert "Not asked, for it makes no sense here: posterior-collapse , likelihood-overfit ." in said
    assert "CANNOT TELL" not in said
    failed = replace(report, verdicts=(*report.verdicts, Verdict("noise", "FAIL", "Noisy.")))
    assert headline(failed) == "1 of 2 checks failed."
    open_ = replace(report, verdicts=(passed, cannot_tell("copying", "There are no held-out images."), *idle))
    assert (open_.status, headline(open_)) == ("CANNOT TELL", "No trouble was found by 1 of 2 checks; the other one could not be answered.")
    assert Report("x", verdicts=idle).status == "CANNOT TELL"


def test_a_short_report_names_the_command_of_the_full_one() -> None:
    assert "The same command gives the same page" in Page(html(whole())).text
    said = Page(html(replace(whole(), short=True))).text
    assert "The full one:" in said
    assert "The same command" not in said


def test_the_baseline_is_not_called_held_out(page: Page) -> None:
    assert "the same score of other real images" in page.text
    assert "the same score of held-out" not in page.text


def test_drift_between_checkpoints_is_drawn() -> None:
    verdict = Verdict("oscillation", "FAIL", "It swings.", data={"steps": [5, 6, 7], "drift": [4.0, 5.0]})
    assert "images of the same noise moved" in html(Report("run", verdicts=(verdict,)))
    assert "images of the same noise moved" not in html(Report("run", verdicts=(replace(verdict, data=None),)))


def test_a_spectrum_is_shown_once_for_blur_and_noise() -> None:
    band = Spectrum((0.1, 0.5), (1.0, 1.0), (2.0, 2.0), (3.0, 3.0), (1.0, 4.0))
    verdicts = tuple(Verdict(name, "FAIL", "Bad.", remedies=(sets({"train.ema": 0.1}),)) for name in ("blur", "noise"))
    both, one = (html(Report("a", verdicts=found, spectrum=band, recipe="dcgan")) for found in (verdicts, verdicts[1:]))
    caption = "Strength of coarse (left) to fine (right)"
    assert both.count(caption) == one.count(caption) == 1
    assert "The picture stands with the verdict on" in both
    assert "What to try, as options of <code>" in both


def test_a_curve_by_itself_is_as_large_as_other_pictures() -> None:
    moved = Verdict("oscillation", "FAIL", "Moves.", data={"steps": [1, 2, 3], "drift": [2.0, 3.0]})
    page = html(Report("a", verdicts=(moved,)))
    assert '<div class="pair">' not in page


def test_the_suffix_of_a_file_is_not_broken() -> None:
    near = Neighbors(np.zeros((1, 8, 8, 1), np.uint8), np.zeros((1, 8, 8, 1), np.uint8), None, (0.5,), train_name=("a/00244.jpeg",))
    assert '00244<span class="nowrap">.jpeg</span>' in html(Report("a", pictures=ReportImages(neighbors=near)))
