"""What a command says to who leaves a word out."""

from __future__ import annotations

import pytest

from calotype.cli import main


@pytest.mark.parametrize(
    ("words", "missing", "usage"),
    [
        ("degrade", "SPEC", "calotype degrade SPEC IN OUT"),
        ("degrade gray", "IN", "calotype degrade SPEC IN OUT"),
        ("degrade gray photos", "OUT", "calotype degrade SPEC IN OUT"),
        ("restore", "MODEL", "calotype restore MODEL IN [OUT]"),
        ("restore run", "IN", "calotype restore MODEL IN [OUT]"),
        ("upscale run", "IN", "calotype upscale MODEL IN [OUT]"),
        ("translate run", "IN", "calotype translate MODEL IN [OUT]"),
        ("restore --prior run", "IN", "calotype restore --prior MODEL IN OUT"),
        ("restore --prior run photo.png", "OUT", "calotype restore --prior MODEL IN OUT"),
        ("data check", "SOURCE", "calotype data check SOURCE"),
        ("data prepare", "SOURCE", "calotype data prepare SOURCE OUT"),
        ("data prepare photos", "OUT", "calotype data prepare SOURCE OUT"),
        ("sample", "RUN", "calotype sample RUN"),
        ("latents plane", "RUN", "calotype latents plane RUN"),
        ("evaluate", "SUBJECT", "calotype evaluate SUBJECT"),
    ],
)
def test_a_missing_word_is_shown_among_all_that_the_command_takes(
    capsys: pytest.CaptureFixture[str], words: str, missing: str, usage: str
) -> None:
    assert main(words.split()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"calotype: {missing} is missing: {usage}; calotype ")
    assert said.err.count("\n") == 1
