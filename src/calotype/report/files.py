"""Reports on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from calotype.errors import UserError
from calotype.evaluation.result import Report, to_json
from calotype.explanation.section import Explanation
from calotype.files import obstacle, write_json, write_text
from calotype.report.compare import compare_html
from calotype.report.page import html
from calotype.report.page_explanation import explanation_html

_JSON, _PAGE = "report.json", "report.html"


def require_folder(folder: Path) -> None:
    """Raise `UserError` where `save` could not write into a folder, before there is a report."""
    reasons = [obstacle(folder, folder=True), *(obstacle(folder / name) for name in (_JSON, _PAGE) if folder.is_dir())]
    if reason := next(filter(None, reasons), None):
        raise UserError(f"cannot write a report into {folder}: {reason}; choose another `out`")


def require_page(path: Path) -> None:
    """Raise `UserError` where `save_comparison` could not write, before there are reports."""
    if not path.name or path.is_dir():
        raise UserError(f"`out={path}` is a folder: name the page, such as {path / 'comparison.html'}")
    if reason := obstacle(path, make=True):
        raise UserError(f"cannot write {path}: {reason}; choose another `out`")


def save(report: Report, folder: Path) -> Path:
    """Write ``report.json`` and ``report.html`` into a folder, made where it is missing; returns the page."""
    page = html(report)
    _make(folder)
    write_json(folder / _JSON, to_json(report))
    write_text(folder / _PAGE, page)
    return folder / _PAGE


def save_comparison(reports: Sequence[Report], path: Path) -> None:
    """Write one page for several reports."""
    page = compare_html(reports)
    _make(path.parent)
    write_text(path, page)


def save_explanation(explanation: Explanation, path: Path) -> None:
    """Write the page of an explanation."""
    page = explanation_html(explanation)
    _make(path.parent)
    write_text(path, page)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create {folder}: {error.strerror or error}; choose another `out`") from None
