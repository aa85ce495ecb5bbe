"""The page of an explanation shows what its parts exhibit, whatever names come from outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from calotype.explanation.section import Exhibit, Explanation, LinePlot, Strip, Table, to_json
from calotype.report.page_explanation import explanation_html

EVIL = "<script>alert(1)</script>"


class Planted:
    """A part of every kind of exhibit."""

    name = "planted"
    title = f"Planted {EVIL}"
    says = f"Latents of {EVIL}."

    def exhibits(self) -> Sequence[Exhibit]:
        images = np.zeros((6, 8, 8, 3), np.uint8)
        return [
            Strip(EVIL, images, 3, (EVIL, "second"), ("a", "b", EVIL)),
            LinePlot(EVIL, EVIL, "up", {EVIL: ([0.0, 1.0], [2.0, 3.0])}, {EVIL: ([1.0, 2.0], [3.0, 4.0])}),
            Table(EVIL, ("name", EVIL), (("row", f"1\n{EVIL}"),)),
            Strip("alone", images[:2], 2, drawn=False),
        ]

    def data(self) -> dict[str, Any]:
        return {"numbers": [1, 2]}


def test_a_page_holds_every_exhibit_and_no_markup_from_outside() -> None:
    found = Explanation(EVIL, {"recipe": EVIL}, [Planted()], notes=(EVIL,), seed=4)
    page = explanation_html(found)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 10
    assert page.count("data:image/png") == 3  # two rows, and one
    assert page.count('<svg class="plot"') == 1
    assert '<div class="pair">' in page  # the strip beside its plot
    assert "latent unit" in page  # the word is explained
    told = to_json(found)
    assert told["seed"] == 4
    assert told["sections"]["planted"]["numbers"] == [1, 2]
