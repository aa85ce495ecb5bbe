"""What is shared is what was trained, or it is not taken; no token and no pickle passes through."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from calotype import cli, pull, push
from calotype.engine.model_card import JUDGED, judged_card, licensed
from calotype.engine.run import Run
from calotype.errors import CalotypeError, DamagedError, UserError
from calotype.files import write_json
from calotype.models import build
from calotype.shipping.share import MANIFEST, verify
from calotype.tasks.sample import load
from tests.engine.test_model_card import HOSTILE, rendered
from tests.shipping.hub_stub import TOKEN, Hub, hub_stub
from tests.small import small, spec_of

REPORT = {
    "seed": 3,
    "status": "WARN",
    "scores": [
        {"name": "FD", "value": 0.39054, "interval": [0.2757, 0.5054], "baseline": 0.216, "n": 1400, "features": "digits@745503d1"},
        {"name": "different bins", "value": 0, "interval": None, "baseline": None, "n": None, "features": ""},
    ],
    "verdicts": [{"name": "mode-collapse", "status": "WARN", "says": "Some parts of the data have no generated image near them."}],
    "notes": ["the digits recognizer, which judges, is right for 99.5% of images"],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a model and a report."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    folder.mkdir()
    torch.manual_seed(0)
    config, spec = small("gan"), spec_of("gan")
    Run(folder).write_config(config, "4e91de72" * 8, {"steps": 3, "threads": 1, "seconds_per_step": 0.0, "bf16": False})
    Run(folder).export(build(config.model, spec), config, spec, 3)
    (folder / "report").mkdir()
    write_json(folder / "report" / "report.json", REPORT)
    Run(folder).tell_judgement(REPORT)
    return folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with hub_stub() as there:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("HF_ENDPOINT", there.address)
        yield there


def test_a_shared_folder_is_the_model(run: Path, tmp_path: Path) -> None:
    there = push(run, tmp_path / "shared", license="cc-by-4.0")
    taken = pull(tmp_path / "shared", tmp_path / "taken")
    assert there.files == taken.files == verify(tmp_path / "taken")
    assert torch.equal(load(tmp_path / "taken", "cpu").sample(3, seed=1), load(run, "cpu").sample(3, seed=1))
    names = {"config.json", "model.safetensors", "README.md", MANIFEST}
    assert {path.name for path in (tmp_path / "taken").iterdir()} == names
    again = push(tmp_path / "taken", tmp_path / "again")  # what was taken can be shared again, with its license
    assert again.files == there.files


def test_the_card_tells_how_it_was_made_and_judged(run: Path, tmp_path: Path) -> None:
    push(run, tmp_path / "shared", license="cc-by-4.0")
    card = (tmp_path / "shared" / "README.md").read_text(encoding="utf-8")
    assert card.startswith('---\nlicense: "cc-by-4.0"\nlibrary_name: calotype\npipeline_tag: unconditional-image-generation\n')
    body = card.split("\n---\n")[1]
    seen = rendered(body).text
    for said in (
        "license: cc-by-4.0",
        "4e91de72" * 8,
        "gan, ",
        "calotype sample . ",
        "0.2757 to 0.5054",
        "1,400",
        "on mode-collapse: WARN",
    ):
        assert said in seen
    assert "99.5% of images" in seen
    assert "none stated" not in card
    assert "http" not in card  # no page that does not exist
    assert (run / "model" / "README.md").read_text(encoding="utf-8").count("none stated") == 1  # the run's own is as it was


def test_the_card_tells_no_judgement_of_other_weights(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "longer")
    config, spec = small("gan"), spec_of("gan")
    Run(tmp_path / "longer").export(build(config.model, spec), config, spec, 6)
    push(tmp_path / "longer", tmp_path / "shared")
    assert (tmp_path / "longer" / "report" / "report.json").is_file()
    assert JUDGED not in (tmp_path / "shared" / "README.md").read_text(encoding="utf-8")


def test_a_second_judgement_takes_the_place_of_the_first() -> None:
    once = judged_card("# a\n\ntext\n", REPORT)
    assert judged_card(once, REPORT) == once
    assert judged_card(once, {"scores": "no", "verdicts": [1]}) == "# a\n\ntext\n"


def test_nothing_in_a_report_or_a_license_becomes_markup() -> None:
    for name in HOSTILE:
        row = {"name": name, "status": name, "says": name, "features": name, "value": 1.0, "interval": [name, 1]}
        card = judged_card("# a\n", {"seed": name, "status": name, "scores": [row], "verdicts": [row], "notes": [name]})
        tags = {"h1", "h2", "p", "code", "table", "thead", "tbody", "tr", "th", "td", "ul", "li"}
        assert set(rendered(card).tags) <= tags
        assert set(rendered(licensed("- license: x\n", name)).tags) <= {"ul", "li"}


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "README.md"])
def test_a_file_that_changed_on_its_way_is_not_taken(run: Path, tmp_path: Path, name: str) -> None:
    push(run, tmp_path / "shared")
    path = tmp_path / "shared" / name
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(DamagedError, match=f"{name} is not what manifest.json says"):
        pull(tmp_path / "shared", tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["shared"]  # nothing half-written
    path.unlink()
    with pytest.raises(DamagedError, match=f"{name} is missing"):
        pull(tmp_path / "shared", tmp_path / "taken")


def test_a_manifest_names_no_other_files(run: Path, tmp_path: Path) -> None:
    push(run, tmp_path / "shared")
    facts = json.loads((tmp_path / "shared" / MANIFEST).read_text())
    facts["files"]["../evil.pkl"] = "0"
    write_json(tmp_path / "shared" / MANIFEST, facts)
    with pytest.raises(DamagedError, match="does not list the files of a model"):
        pull(tmp_path / "shared", tmp_path / "taken")


def test_what_the_manifest_does_not_list_is_not_taken(run: Path, tmp_path: Path, hub: Hub) -> None:
    push(run, tmp_path / "shared")
    revision = push(run, "hf://somebody/digits").revision
    assert revision is not None
    for name in ("calibration.json", "known.safetensors"):
        (tmp_path / "shared" / name).write_bytes(b"of another model")
        hub.commits["somebody/digits"][revision][name] = b"of another model"
    for source in (str(tmp_path / "shared"), "hf://somebody/digits"):
        taken = pull(source, tmp_path / f"taken {source[:2] == 'hf'}")
        assert taken.folder is not None
        assert {path.name for path in taken.folder.iterdir()} == {*taken.files, MANIFEST}
    again = push(run, "hf://somebody/digits").revision  # which takes them away
    assert again is not None
    assert set(hub.commits["somebody/digits"][again]) == {"config.json", "model.safetensors", "README.md", MANIFEST}


def test_through_the_hub_and_back(run: Path, tmp_path: Path, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["push", str(run), "hf://somebody/digits", "--license", "mit", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    revision = told["revision"]
    assert told["place"] == f"hf://somebody/digits@{revision}"
    assert hub.private == {"somebody/digits": True}
    assert set(hub.commits["somebody/digits"][revision]) == {"config.json", "model.safetensors", "README.md", MANIFEST}
    hub.commits["somebody/digits"][revision]["evil.pkl"] = b"no"
    hub.commits["somebody/digits"]["f" * 40] = {"README.md": b"a later commit without a model"}
    assert cli.main(["pull", told["place"], "--out", str(tmp_path / "taken")]) == 0
    said = capsys.readouterr()
    assert revision in said.out
    assert TOKEN not in said.out + said.err
    assert sorted(path.name for path in (tmp_path / "taken").iterdir()) == ["README.md", "config.json", MANIFEST, "model.safetensors"]
    assert torch.equal(load(tmp_path / "taken", "cpu").sample(2), load(run, "cpu").sample(2))
    assert not any("evil" in one for one in hub.asked)  # not even asked for
    with pytest.raises(UserError, match=r"has no model.safetensors|has no config.json"):
        pull("hf://somebody/digits", tmp_path / "newest")


def test_what_the_hub_sends_is_checked(run: Path, tmp_path: Path, hub: Hub) -> None:
    revision = push(run, "hf://somebody/digits").revision
    assert revision is not None
    files = hub.commits["somebody/digits"][revision]
    files["model.safetensors"] = files["model.safetensors"][:-1] + b"x"
    with pytest.raises(DamagedError, match=r"model\.safetensors is not what"):
        pull("hf://somebody/digits", tmp_path / "taken")
    assert not (tmp_path / "taken").exists()


def test_the_hubs_refusals_are_one_line_without_a_token(
    run: Path, tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match="there is no hf://somebody/nothing, or you may not see it"):
        pull("hf://somebody/nothing", tmp_path / "x")
    push(run, "hf://somebody/digits")
    with pytest.raises(UserError, match="has no such revision"):
        pull("hf://somebody/digits@v9", tmp_path / "x")
    monkeypatch.setenv("HF_TOKEN", "hf_wrongwrongwrong")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.address)  # as where the environment named it from the start
    assert cli.main(["push", str(run), "hf://somebody/digits"]) == 2
    error = capsys.readouterr().err
    assert "log in as who may" in error or "you may not see it" in error
    assert "hf_wrong" not in error
    hub.shutdown()
    hub.server_close()
    with pytest.raises(CalotypeError, match="the Hub"):
        push(run, "hf://somebody/digits")


def test_what_is_no_fault_of_the_hub_is_not_told_as_one(run: Path, monkeypatch: pytest.MonkeyPatch, hub: Hub) -> None:
    with pytest.raises(UserError, match="is no name that the Hub takes"):
        push(run, "hf://somebody/a--b")

    def full(*given: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", full)
    with pytest.raises(OSError, match="No space left"):
        push(run, "hf://somebody/digits")


def test_a_folder_whose_place_cannot_be_taken_is_refused_first(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    push(run, tmp_path / "shared")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    monkeypatch.chdir(tmp_path / "empty")
    for place, kind in ((Path(), "the folder you are in"), (tmp_path / "link", "a link")):
        with pytest.raises(UserError, match=f"is {kind}, which no new folder can take the place of"):
            pull(tmp_path / "shared", place)
    monkeypatch.chdir(tmp_path)
    assert pull(tmp_path / "shared", tmp_path / "empty").files


def test_bad_places_and_licenses(run: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(UserError, match="is not empty"):
        push(run, tmp_path / "full")
    for place in ("hf://", "hf://name", "hf://a/b/c", "hf://a/../b", "hf://a/b@../../x"):
        with pytest.raises(UserError, match="is no place on the Hub"):
            pull(place, tmp_path / "x")
    with pytest.raises(UserError, match="give its identifier"):
        push(run, tmp_path / "x", license="mit\nevil: true")
    with pytest.raises(UserError, match=r"there is no manifest\.json"):
        pull(run / "model", tmp_path / "x")
