"""The field's own terms, in code and in documents: private words cost every reader."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRIVATE = {
    "spoil(s|ed|ing)?": "degrade",
    "mend(s|ed|ing)?": "restore, repair",
    "log_ratio": "half_log_snr",
    "deceit": "loss_g_adv",
    "trunk|crown|rungs?": "backbone, decoder, latent blocks",
    "retreats?|calmer": "rollback",
    "by heart": "memorized, overfitted",
    "foresees?|foreseen": "predict",
    "grey": "gray",
    "Keeper": "ModelSelector",
    "turns? (of|in) (a|the|its|one|each) (player|critic|generator|discriminator|step)s?": "step",
    "data[.-]turn": "data.rot90",
}
ALLOWED = {
    "src/calotype/earlier.py": "the names that files of earlier versions use",
    "src/calotype/degrade/parse.py": "a name that users write, and are corrected",
    "src/calotype/cli/parse.py": "an option that users may know, and are corrected",
}
FILES = [path for folder in ("src", "docs") for path in sorted((ROOT / folder).rglob("*")) if path.suffix in (".py", ".md", ".css")]


@pytest.mark.parametrize("word", PRIVATE)
def test_no_private_word_stands_for_a_term(word: str) -> None:
    found = [
        f"{name}:{number}: {line.strip()[:80]}"
        for path in [*FILES, *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"))]
        if (name := path.relative_to(ROOT).as_posix()) not in ALLOWED
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(rf"\b({word})\b", line, 0 if word[0].isupper() else re.IGNORECASE)
    ]
    assert not found, f"say {PRIVATE[word]}: {found}"
