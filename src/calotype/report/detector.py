"""What there is to say of a detector: lines for a terminal, and the page beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from calotype.detect.results import DetectorFacts, Rate, ToldApart
from calotype.detect.sets import SetFacts
from calotype.files import write_text
from calotype.metrics.wording import number
from calotype.report import plots_detector, plots_reliability
from calotype.report.drawing import text
from calotype.report.html import document, explained, facts, figure, linked, prose, section, table, tag, term
from calotype.report.text import sentence
from calotype.report.text_recognition import percent

PAGE = "detector.html"
ALL = "all generators"


def save_page(known: DetectorFacts, folder: Path) -> Path:
    """Write ``detector.html`` into the folder of a detector; returns its place."""
    write_text(folder / PAGE, page(known))
    return folder / PAGE


def told(known: DetectorFacts) -> list[str]:
    """The main numbers, a line each."""
    found, lines = known.results, [headline(known), ""]
    lines += _lines("test", [found.overall, *found.each])
    lines += ["", *_lines("left out of training", found.left_out)] if found.left_out else []
    lines += ["", *_lines("degraded", found.robustness, known.mark)] if found.robustness else []
    lines += ["", f"calibration error  {found.before.error:.3f} as learned, {found.after.error:.3f} calibrated; {_chance(known)}"]
    return [*lines, *filter(None, [known.trust, known.doubt]), *known.notes]


def headline(known: DetectorFacts) -> str:
    """What the test comes to, in a sentence."""
    row, of = known.results.overall, f"{known.real.name} and {', '.join(one.name for one in known.generated)}"
    if not known.useful:
        return f"Images of {of} are told apart no better than chance ({_area(row)}): to every image it answers CANNOT TELL."
    return (
        f"AUC {_area(row)} on images of {of} that it never saw. "
        f"{percent(row.real.generated.share)} of the real ones were called GENERATED, "
        f"{percent(row.generated.real.share)} of the generated ones REAL ({percent(known.limits.false_alarms)} were allowed of each)."
    )


def page(known: DetectorFacts) -> str:
    """One self-contained page: no scripts, nothing loaded from anywhere."""
    parts = [
        ("roc", "How well it tells them apart", _curve(known)),
        ("unknown", "Generators that it never saw", _left_out(known)),
        ("degraded", "Degraded images", _degraded(known)),
        ("probabilities", "Probabilities", _calibration(known)),
        ("answers", "When it answers", _rules(known)),
        ("images", "What it learned from", _sets(known)),
    ]
    header = f'<p class="eyebrow">Calotype detector</p><h1>{text(", ".join(one.name for one in known.generated))}</h1>'
    header += tag("p", linked(headline(known)), kind="lead")
    header += "".join(tag("p", linked(said)) for said in (known.trust, known.doubt) if said)
    notes = "".join(tag("p", prose(sentence(note))) for note in known.notes)
    header += f'<div class="notes">{notes}</div>' if notes else ""
    body = "".join(section(name, title, inside) for name, title, inside in parts if inside)
    words = section("words", "Words on this page", explained(header + body))
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title, inside in parts if inside)
    nav = f'<nav aria-label="Parts of this page">{links}</nav>'
    return document(f"{known.generated[0].name}: detector", f"<header>{header}{nav}</header><main>{body}{words}</main>")


def _curve(known: DetectorFacts) -> str:
    found = known.results
    caption = f"ROC curve of {found.overall.real.real.n:,} real and {found.overall.generated.real.n:,} generated images of the test."
    drawing = figure(plots_detector.roc(found), caption)
    rows = [found.overall, *(found.each if len(found.each) > 1 else ())]
    return drawing + _table("Generator", rows)


def _left_out(known: DetectorFacts) -> str:
    rows = known.results.left_out
    if not rows:
        return tag("p", linked(known.trust))
    lead = (
        "Each row: a detector that learned from all other generators, asked of all images of this one and of the real images of the test."
    )
    return tag("p", linked(lead), kind="quiet") + _table("Left out", rows)


def _degraded(known: DetectorFacts) -> str:
    if not known.results.robustness:
        return ""
    lead = (
        "The images of the test, degraded before the detector sees them. Where one of the wrong answers is shown to be more frequent "
        "than was allowed, files of such sizes and qualities, and of more severe ones, get the answer CANNOT TELL, unless images that it "
        "learned from are such files, too. Blur and noise cannot be read from a file, so that these get answers all the same."
    )
    rows = known.results.robustness
    named = {said: [row.name for row in rows if known.mark(row) == said] for said in ("CANNOT TELL", "not held")}
    more = tag("p", f"CANNOT TELL: {text(', '.join(named['CANNOT TELL']))}.") if named["CANNOT TELL"] else ""
    more += tag("p", f"Not held, but answered: {text(', '.join(named['not held']))}.") if named["not held"] else ""
    return tag("p", linked(lead), kind="quiet") + _table("Degradation", rows) + more


def _calibration(known: DetectorFacts) -> str:
    found = known.results
    said = f"Calibration error {found.before.error:.3f} as learned, {found.after.error:.3f} calibrated; {_chance(known)}."
    belief = "mean belief in the likelier of real and generated"
    drawing = plots_reliability.reliability(found.before, found.after, "calibrated", belief, 0.5)
    return figure(drawing, f"{said} Images of the test, as many real as generated ones.")


def _rules(known: DetectorFacts) -> str:
    limits, tested = known.limits, known.tested
    rate = percent(limits.false_alarms)
    side = f"{tested.sides[0]}" if tested.sides[0] == tested.sides[1] else f"{tested.sides[0]} to {tested.sides[1]}"
    quality = "none were tested" if tested.quality is None else f"quality {tested.quality:.0f} or more"
    rows = {
        "GENERATED": f"above the limit that {rate} of real images pass",
        "REAL": f"below the limit that {rate} of the images of each generator stay under",
        "CANNOT TELL": f"between the limits, and for images unlike all sets, by a limit that {rate} of the images of each set pass",
        "sizes": f"shorter side of {side} pixels; CANNOT TELL beyond",
        "JPEG files": f"{quality}; CANNOT TELL below",
    }
    lead = "Limits are those of images of calibration, which hold on average whatever the distribution (split conformal prediction)."
    return tag("p", linked(lead), kind="quiet") + facts(rows)


def _sets(known: DetectorFacts) -> str:
    train, calibration, test = known.results.counts
    equal = known.equalizer
    same = f"brought to {equal.size}x{equal.size} {'gray' if equal.channels == 1 else 'color'}"
    same += ", blurred by widths of their own" * (equal.soft is not None)
    pools = sum(bool(pool) for pool in (equal.real, equal.generated))
    same += ", given the JPEG compression of the other side where they lacked it" * bool(pools)
    same += f", compressed once more at a quality of {equal.last[0]} to {equal.last[1]}" if equal.last else ", and not equalized otherwise"
    lead = f"{train:,} images of training, {calibration:,} of calibration, {test:,} of the test; all {same}."
    lead += f" Features: {', '.join(known.groups)}."
    rows = [[f"real: {text(known.real.name)}", *_set(known.real)], *([text(one.name), *_set(one)] for one in known.generated)]
    head = ["Images", "Number", "Shorter side", "Files", "From", "Fingerprint"]
    seconds = f"Trained and tested in {known.results.seconds:.0f} seconds, seed {known.seed}, Calotype {known.version}."
    return tag("p", text(lead), kind="quiet") + table(head, rows) + tag("p", text(seconds), kind="quiet")


def _set(one: SetFacts) -> list[str]:
    low, high = one.sides
    files = ", ".join(name or "nothing lost" for name in one.formats)
    files += f", quality {one.qualities[0]:.0f} to {one.qualities[1]:.0f}" if one.qualities else ""
    where = f"{one.recipe}, weights {one.weights[:12]}, seed {one.seed}" if one.weights else one.source
    sides = f"{low}" if low == high else f"{low} to {high}"
    return [f"{one.images:,}", sides, text(files), text(where), text(one.fingerprint[:12])]


def _table(kind: str, rows: Sequence[ToldApart]) -> str:
    head = [kind, term("AUC"), "Real called GENERATED", "Generated called GENERATED", "Generated called REAL", "CANNOT TELL, of each"]
    cells = []
    for row in rows:
        neither = f"{percent(row.real.cannot_tell.share)}, {percent(row.generated.cannot_tell.share)}"
        rates = [_rate(row.real.generated), _rate(row.generated.generated), _rate(row.generated.real)]
        span = f"<br><span class='quiet nowrap'>{row.interval[0]:.3f} to {row.interval[1]:.3f}</span>"
        cells.append([text(ALL if row.name == "all" else row.name), f"{row.area:.3f}{span}", *rates, neither])
    return table(head, cells)


def _rate(rate: Rate) -> str:
    return f"{percent(rate.share)}<br><span class='quiet nowrap'>{percent(rate.interval[0])} to {percent(rate.interval[1])}</span>"


def _area(row: ToldApart) -> str:
    return f"{row.area:.3f} [{row.interval[0]:.3f}, {row.interval[1]:.3f}]"


def _chance(known: DetectorFacts) -> str:
    return f"chance alone makes up to {number(known.results.chance)}"


def _lines(title: str, rows: Sequence[ToldApart], mark: Callable[[ToldApart], str] | None = None) -> list[str]:
    """A table for a terminal; rows end with their marks, where there are any."""
    grid = [[title, "AUC", "real: GENERATED", "generated: GENERATED", "REAL", ""]]
    for row in rows:
        shares = [percent(one.share) for one in (row.real.generated, row.generated.generated, row.generated.real)]
        grid.append([ALL if row.name == "all" else row.name, _area(row), *shares, mark(row) if mark else ""])
    widths = [max(len(line[column]) for line in grid) for column in range(len(grid[0]))]
    return [
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]).rstrip() for line in grid
    ]
