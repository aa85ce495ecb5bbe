"""Reports on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from calotype.errors import UserError
from calotype.files import write_json, write_text
from calotype.report.card import Report, to_json
from calotype.report.compare import compare_html
from calotype.report.page import html


def save(report: Report, folder: Path) -> Path:
    """Write ``report.json`` and ``report.html`` into a folder, made where it is missing; returns the page."""
    page = html(report)
    _make(folder)
    write_json(folder / "report.json", to_json(report))
    write_text(folder / "report.html", page)
    return folder / "report.html"


def save_comparison(reports: Sequence[Report], path: Path) -> None:
    """Write one page for several reports."""
    page = compare_html(reports)
    _make(path.parent)
    write_text(path, page)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create {folder}: {error.strerror or error}; choose another --out") from None
