"""A model applied to pictures: channels, depth, maps, many files, and what happens when one of them fails."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from calotype import degrade
from calotype.degrade.color import Luma
from calotype.degrade.noise import BLIND
from calotype.degrade.resize import resize
from calotype.engine.display import Display
from calotype.errors import CalotypeError, UserError
from calotype.tasks.batch import Job, Outcome, read_mask, restore_files
from calotype.tasks.files import Picture
from calotype.tasks.inputs import open_inputs, targets
from calotype.tasks.restore import Applied, Way, apply, warning
from calotype.tasks.sample import Generator
from calotype.tasks.score import mean, score, spoil
from calotype.types import Condition, ImageSpec, Model, Noise, Source


class Stand(Model):
    """Does a known thing to what it is given, and remembers that."""

    from_source = True

    def __init__(self, source: Source, out: int, does: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.spec = ImageSpec(24, out, source=source)
        self.does = does
        self.one = nn.Parameter(torch.ones(()))
        self.given: list[Tensor] = []

    def sample(self, noise: Noise, condition: Condition | None = None) -> Tensor:
        assert condition is not None
        assert condition.source is not None
        assert noise.n == len(condition.source)
        self.given.append(condition.source.detach())
        return self.does(condition.source) * self.one


def stand(source: Source, out: int, does: Callable[[Tensor], Tensor]) -> Generator:
    return Generator(Stand(source, out, does), "denoise", torch.device("cpu"))


def given_to(generator: Generator) -> Tensor:
    assert isinstance(generator.model, Stand)
    return generator.model.given[-1]


def random(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(sum(shape))) * 2 - 1


def larger(x: Tensor) -> Tensor:
    return x[:, :1].repeat_interleave(2, 2).repeat_interleave(2, 3)


def test_a_grey_restorer_mends_each_channel_of_a_color_picture() -> None:
    picture = random(3, 30, 41)
    assert torch.allclose(apply(stand(Source(1, how="noise:25"), 1, lambda x: x.square()), picture), picture.square())


def test_a_grey_upscaler_enlarges_the_luma_and_interpolates_the_rest() -> None:
    picture = random(3, 20, 30) * 0.3
    made = apply(stand(Source(1, 2, how="downsample:2"), 1, larger), picture)
    luma = Luma()
    assert made.shape == (3, 40, 60)
    assert torch.allclose(luma.forward(made[None]), larger(luma.forward(picture[None])), atol=1e-5)
    base = resize(picture[None], 40, 60)
    assert torch.allclose(made[None] - base, (made[None] - base)[:, :1].expand(-1, 3, -1, -1), atol=1e-5)  # the chroma is bicubic


def test_other_models_of_one_channel_see_color_in_grey() -> None:
    picture = random(3, 20, 30)
    grey = Luma().forward(picture[None])[0]
    assert torch.allclose(apply(stand(Source(1, how="unpaired"), 1, lambda x: -x), picture), -grey)
    colored = apply(stand(Source(1, how="gray"), 3, lambda x: x.expand(-1, 3, -1, -1)), picture)
    assert torch.allclose(colored, grey.expand(3, -1, -1))


def test_grey_stays_grey_where_it_is_mended_and_not_where_it_is_translated() -> None:
    picture = random(1, 20, 30)
    shift = torch.tensor([0.0, 0.1, -0.4]).view(1, 3, 1, 1)
    assert torch.allclose(apply(stand(Source(3, how="blur:1.6"), 3, lambda x: x + shift), picture), (picture - 0.1).clamp(-1, 1), atol=1e-6)
    assert apply(stand(Source(3, how="unpaired"), 3, lambda x: x + shift), picture).shape == (3, 20, 30)
    assert apply(stand(Source(3, how="edges"), 1, lambda x: x[:, :1]), picture).shape == (1, 20, 30)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (5, 7), (17, 250)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_pixels_come_back_as_they_were_where_nothing_is_done(size: tuple[int, int], kind: type) -> None:
    pixels = np.random.default_rng(0).integers(0, np.iinfo(kind).max, (*size, 3), kind, endpoint=True)
    made, note = Applied(stand(Source(3, how="noise:25"), 3, lambda x: x)).pixels(pixels)
    assert note == ""
    assert made.dtype == kind
    np.testing.assert_array_equal(made, pixels)


def test_levels_and_masks_reach_the_model() -> None:
    noise = stand(Source(1, known=("sigma",), how="noise:0-55"), 1, lambda x: x[:, :1])
    apply(noise, random(1, 20, 30))
    assert bool((given_to(noise)[:, 1] == BLIND).all())
    apply(noise, random(1, 20, 30), sigma=25)
    assert bool((given_to(noise)[:, 1] == 0.5).all())
    fill = stand(Source(3, known=("mask",), how="mask:box"), 3, lambda x: x[:, :3])
    hole = np.zeros((20, 30), bool)
    hole[3:8, 5:20] = True
    made, _ = Applied(fill).pixels(np.full((20, 30, 3), 200, np.uint8), hole)
    seen = given_to(fill)
    assert torch.equal(seen[0, 3], torch.from_numpy(~hole).float())
    assert not seen[0, :3, 3:8, 5:20].any()
    assert set(np.unique(made[hole])) == {128}
    with pytest.raises(UserError, match="say where that is with --mask"):
        apply(fill, random(3, 20, 30))
    with pytest.raises(UserError, match="takes no noise level"):
        apply(fill, random(3, 20, 30), sigma=5, known=None)
    with pytest.raises(UserError, match="fills in nothing"):
        Applied(noise).pixels(np.zeros((20, 30, 1), np.uint8), hole)


def test_models_that_cannot_are_refused() -> None:
    class Other(Stand):
        from_source = False

    with pytest.raises(UserError, match="from noise, not from pictures"):
        apply(Generator(Other(Source(1), 1, lambda x: x), "ddpm", torch.device("cpu")), random(1, 9, 9))
    with pytest.raises(UserError, match="no sampling option 'stepz'"):
        apply(stand(Source(1, how="noise:25"), 1, lambda x: x), random(1, 9, 9), options={"stepz": 3})
    with pytest.raises(CalotypeError, match="not finite"):
        apply(stand(Source(1, how="noise:25"), 1, lambda x: x / 0), random(1, 9, 9))


@pytest.mark.parametrize(
    ("learned", "asked", "warns"),
    [
        ("noise:0-55", "noise:25", False),
        ("noise:0-55", "noise:55.5", True),
        ("noise:25", "noise:15", True),
        ("noise:0-55", "blur:1", True),
        ("mask:box,half", "mask:half", False),
        ("mask:box", "mask:half", True),
        ("blur:1-2+noise:5", "blur:1.5+noise:5", False),
        ("blur:1-2+noise:5", "blur:1.5", True),
        ("gray", "gray", False),
        ("unpaired", "gray", True),
    ],
)
def test_a_warning_where_a_model_learned_something_else(learned: str, asked: str, warns: bool) -> None:
    assert (warning(Source(1, how=learned), asked) is not None) == warns


def test_what_is_spoiled_depends_on_seed_and_number_alone() -> None:
    applied = Applied(stand(Source(3, known=("sigma",), how="noise:0-55"), 3, lambda x: x[:, :3]), Way(seed=3))
    noisy = degrade.parse("noise:25")
    picture = random(3, 20, 30)
    first = spoil(applied, picture, noisy, 1)
    assert torch.equal(first.given, spoil(applied, picture, noisy, 1).given)
    assert not torch.equal(first.given, spoil(applied, picture, noisy, 2).given)
    assert first.known is not None
    assert torch.equal(first.known, torch.full((1, 20, 30), 0.5))
    blind = spoil(applied, picture, noisy, 1, blind=True).known
    assert blind is not None
    assert bool((blind == BLIND).all())
    assert float((first.given - picture).std() * 127.5) == pytest.approx(25, rel=0.05)


def test_spoiling_cuts_to_the_scale_and_refuses_what_does_not_fit() -> None:
    applied = Applied(stand(Source(1, 2, how="downsample:2"), 1, larger))
    spoiled = spoil(applied, random(3, 21, 33), degrade.parse("downsample:2"))
    assert (spoiled.truth.shape, spoiled.given.shape) == ((1, 3, 20, 32), (3, 10, 16))
    with pytest.raises(UserError, match="2 times larger, and --degrade noise:25 keeps it: put downsample:2"):
        spoil(applied, random(3, 21, 33), degrade.parse("noise:25"))
    with pytest.raises(UserError, match="too small to be made 2 times smaller"):
        spoil(applied, random(3, 1, 33), degrade.parse("downsample:2"))


def test_scores_are_those_of_the_result() -> None:
    applied = Applied(stand(Source(1, how="noise:25"), 1, lambda x: x))
    noisy = degrade.parse("noise:25")
    spoiled = spoil(applied, random(1, 64, 64) * 0.2, noisy)
    untouched = score(spoiled, noisy, spoiled.given)
    better = score(spoiled, noisy, (spoiled.given + spoiled.truth[0]) / 2)
    assert untouched.own.psnr == pytest.approx(20.17, abs=0.5)
    assert better.own.psnr == pytest.approx(untouched.own.psnr + 6.02, abs=0.1)
    assert untouched.baselines["input"].psnr == pytest.approx(untouched.own.psnr, abs=1e-6)
    assert better.own.ssim > untouched.own.ssim
    exact = score(spoiled, noisy, spoiled.truth[0])
    assert exact.as_json()["psnr"] is None
    assert mean([untouched, better])["psnr"] == pytest.approx(untouched.own.psnr + 3.01, abs=0.1)
    assert "8 bit" in mean([better])["convention"]


def write(path: Path, *shape: int, value: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full(shape, value, np.uint8)
    Image.fromarray(pixels).save(path)


def outcomes(source: Path, out: Path, overwrite: bool = False, does: Callable[[Tensor], Tensor] = lambda x: x) -> list[Outcome]:
    with open_inputs(str(source), out) as inputs:
        applied = Applied(stand(Source(3, how="noise:25"), 3, does))
        return restore_files(applied, inputs, targets(inputs, out, overwrite), Job(), Display(), "restoring")


def test_a_failed_file_stops_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    for index, name in enumerate(("a.png", "b.jpg", "sub/a.png", "a.jpg", "d.gif", "d.png")):
        write(tmp_path / "in" / name, 20, 30, value=20 * index)
    whole = (tmp_path / "in/b.jpg").read_bytes()
    (tmp_path / "in/b.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "in/notes.txt").write_text("no picture")
    (tmp_path / "in/empty.png").touch()
    made = {outcome.file: outcome for outcome in outcomes(tmp_path / "in", tmp_path / "out")}
    assert {name for name, outcome in made.items() if outcome.error} == {"b.jpg", "empty.png"}
    assert "cut off" in made["b.jpg"].error
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert found == ["a.jpg", "a.png", "d.gif.png", "d.png", "sub/a.png"]
    values = [int(np.asarray(Image.open(tmp_path / "out" / name)).mean().round()) for name in found]
    assert values == pytest.approx([60, 0, 80, 100, 40], abs=1)


def test_a_failure_in_the_middle_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    for index in range(3):
        write(tmp_path / f"in/{index}.png", 20, 30, 3, value=100 * index)

    def fails(x: Tensor) -> Tensor:
        if abs(float(x.mean()) + 0.2157) < 0.01:
            raise RuntimeError("out of memory\nwith a long story")
        return x

    made = outcomes(tmp_path / "in", tmp_path / "out", does=fails)
    assert [outcome.error for outcome in made] == ["", "RuntimeError: out of memory", ""]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "2.png"]


def test_pictures_are_never_overwritten_and_results_only_when_asked(tmp_path: Path) -> None:
    write(tmp_path / "in/a.png", 20, 30)
    outcomes(tmp_path / "in", tmp_path / "out")
    with pytest.raises(UserError, match="exists: give another OUT, or --overwrite"):
        outcomes(tmp_path / "in", tmp_path / "out")
    outcomes(tmp_path / "in", tmp_path / "out", overwrite=True)
    for out in (tmp_path / "in", tmp_path / "in/a.png"):
        with pytest.raises(UserError, match="never overwritten"):
            outcomes(tmp_path / "in/a.png", out, overwrite=True)
    os.link(tmp_path / "in/a.png", tmp_path / "same.png")
    with pytest.raises(UserError, match="never overwritten"):
        outcomes(tmp_path / "in/a.png", tmp_path / "same.png", overwrite=True)
    with pytest.raises(UserError, match="must be a folder"):
        outcomes(tmp_path / "in", tmp_path / "out/a.png", overwrite=True)
    with pytest.raises(UserError, match=r"cannot write \.xyz"):
        outcomes(tmp_path / "in/a.png", tmp_path / "b.xyz")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file, not a folder"):
        outcomes(tmp_path / "in", tmp_path / "file/out")


def test_results_inside_the_folder_are_not_taken_for_pictures(tmp_path: Path) -> None:
    write(tmp_path / "a.png", 20, 30)
    assert [outcome.file for outcome in outcomes(tmp_path, tmp_path / "out")] == ["a.png"]
    assert [outcome.file for outcome in outcomes(tmp_path, tmp_path / "out", overwrite=True)] == ["a.png"]


def test_one_file_goes_where_it_is_said(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg", 20, 30, 3)
    (tmp_path / "folder").mkdir()
    for out, name in (("b.png", "b.png"), ("c", "c.jpg"), ("folder", "folder/a.jpg"), ("new/", "new/a.jpg")):
        made = outcomes(tmp_path / "a.jpg", Path(f"{tmp_path}/{out}") if not out.endswith("/") else tmp_path / "new")
        assert made[0].written == tmp_path / (name if not out.endswith("/") else "new.jpg")
        assert made[0].written.is_file()
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n123")
    with pytest.raises(UserError, match=r"broken\.png cannot be used"):
        outcomes(tmp_path / "broken.png", tmp_path / "d.png")


def test_names_in_an_archive_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    import zipfile

    write(tmp_path / "a.png", 20, 30)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("../evil.png", "/tmp/evil.png", "good/a.png"):
            archive.writestr(name, (tmp_path / "a.png").read_bytes())
    made = outcomes(tmp_path / "a.zip", tmp_path / "out/deep")
    assert {outcome.file: outcome.error for outcome in made} == {"/tmp/evil.png": "its name leads out of the archive", "good/a.png": ""}
    assert sorted(path.name for path in tmp_path.rglob("*.png")) == ["a.png", "a.png"]


def test_held_out_pictures_of_a_data_set() -> None:
    with open_inputs("photos") as inputs:
        assert inputs.names
        assert all(name.startswith("test/") for name in inputs.names)
    with open_inputs("mnist5k", count=3) as inputs:
        assert inputs.names == ("000000.png", "000001.png", "000002.png")
        assert isinstance(inputs.picture("000002.png"), Picture)


def test_masks_are_read(tmp_path: Path) -> None:
    pixels = np.zeros((9, 8), np.uint8)
    pixels[2:4, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "m.png")
    assert np.argwhere(read_mask(tmp_path / "m.png")).tolist() == [[2, 3], [3, 3]]
    for name, tells in (("none.png", "cannot be read"), ("text.png", "cannot be used")):
        if name == "text.png":
            (tmp_path / name).write_text("text")
        with pytest.raises(UserError, match=tells):
            read_mask(tmp_path / name)


def test_transparency_is_enlarged_with_the_picture(tmp_path: Path) -> None:
    pixels = np.full((30, 20, 4), 100, np.uint8)
    pixels[:, 10:, 3] = 0
    pixels[:, :10, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with open_inputs(str(tmp_path / "a.png")) as inputs:
        doubled = stand(Source(3, 2, how="downsample:2"), 3, lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3))
        restore_files(Applied(doubled), inputs, {"a.png": tmp_path / "b.png"}, Job(), Display(), "enlarging")
    alpha = np.asarray(Image.open(tmp_path / "b.png"))[..., 3]
    assert alpha.shape == (60, 40)
    assert (alpha[:, :17] == 255).all()
    assert (alpha[:, 23:] == 0).all()
