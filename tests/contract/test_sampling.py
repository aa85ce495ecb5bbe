"""What families can be asked when they draw: the same fields for models, the command line and the documentation."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields

import pytest

from calotype.cli.main import main
from calotype.errors import UserError
from calotype.models import MODELS, DiffusionSampling, TarFlowSampling, build, sampling_of_families
from calotype.recipes import RECIPES
from calotype.settings import described
from calotype.types import Noise, SamplingOptions
from tests.small import small, spec_of

KINDS = sorted({model.sampling for model in MODELS.values()}, key=lambda kind: kind.__name__)


@dataclass(frozen=True)
class Colder(TarFlowSampling):
    frost: bool = False  # on the window


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_has_a_default_a_range_and_a_help(kind: type[SamplingOptions]) -> None:
    assert all(one.default is not MISSING for one in fields(kind))
    for setting in described(kind, kind.names()):
        assert setting.takes, setting.name
        assert setting.help, setting.name
    assert kind() == kind()


@pytest.mark.parametrize("name", RECIPES)
def test_options_left_out_are_those_of_the_configuration_of_the_same_name(name: str) -> None:
    """What is None must be a setting of the model, or nobody would know what it stands for."""
    model = build(small(name).model, spec_of(name))
    for one in fields(model.sampling):
        assert one.default is not None or hasattr(small(name).model, one.name)


def test_options_are_in_range_from_the_beginning_and_of_their_family() -> None:
    assert DiffusionSampling(guidance=3).guidance == 3.0
    with pytest.raises(UserError, match=r"sampling option guidance: give a number from 0 .*, not -1"):
        DiffusionSampling(guidance=-1)
    flow = build(small("glow").model, spec_of("glow")).eval()
    with pytest.raises(TypeError, match="takes FlowSampling, not DiffusionSampling"):
        flow.sample(Noise(1), options=DiffusionSampling())
    assert TarFlowSampling.names() == ("temperature", "guidance")


def test_comments_become_help_even_where_one_is_inherited() -> None:
    assert [one.help for one in described(Colder, ("frost",))] == ["on the window"]
    assert described(Colder, ("temperature",)) == described(TarFlowSampling, ("temperature",))


def test_the_help_of_the_command_names_every_option_of_every_family(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["sample", "--help"])
    said = "".join(capsys.readouterr().out.replace("│", "").split())
    for family, settings in sampling_of_families().items():
        part = said[said.index(f"{family}-") :]
        for one in settings:
            assert "".join(f"- {one.name}: {one.help} ({one.takes})".split()) in part
