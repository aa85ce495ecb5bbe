"""Sources of two kinds of pictures, and the audit of what claims to be pairs."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data_samples import encode, smooth
from PIL import Image, ImageOps

from calotype.config import Data
from calotype.data import Augmentation, Images, Loader, Split, load
from calotype.data.audit import check_alignment, shift_between
from calotype.data.images import make_images
from calotype.data.partner import AUTO, LoadOptions, has_sides, load_sides
from calotype.engine.images import augmentation_of, judging, open_images
from calotype.errors import UserError
from calotype.types import Source


def put(path: Path, image: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(image, "PNG"))


def other(image: Image.Image) -> Image.Image:
    """What a picture becomes on the other side: its negative in gray."""
    return ImageOps.invert(image).convert("L")


def sides(folder: Path, train: int = 6, test: int = 2) -> Path:
    """Two sides that are not paired: other pictures on each."""
    for i in range(train):
        put(folder / f"trainA/a{i}.png", smooth(24, 24, i))
        put(folder / f"trainB/b{i}.png", other(smooth(24, 24, 100 + i)))
    for i in range(test):
        put(folder / f"testA/a{i}.png", smooth(24, 24, 50 + i))
        put(folder / f"testB/b{i}.png", other(smooth(24, 24, 150 + i)))
    return folder


def parallel(folder: Path, count: int = 12, name: Callable[[int, str], str] = lambda i, side: f"{i}.png") -> tuple[str, str]:
    """Folders A and B whose pictures belong together."""
    for i in range(count):
        put(folder / "A" / name(i, "A"), smooth(24, 24, i))
        put(folder / "B" / name(i, "B"), other(smooth(24, 24, i)))
    return str(folder / "A"), str(folder / "B")


def opened(source: str | Path, **options: object) -> Split:
    return open_images(Data(str(source), **options))  # type: ignore[arg-type]


def match(images: Images) -> bool:
    """Whether every image is the negative in gray of its partner."""
    assert images.partner is not None
    assert len(images) == len(images.partner)
    expected = [np.asarray(other(Image.fromarray(p))) for p in images.partner.pixels]
    return all((e == image[..., 0]).all() for e, image in zip(expected, images.pixels, strict=True))


@pytest.mark.parametrize("zipped", [False, True])
def test_two_sides_are_found_by_their_folders(tmp_path: Path, zipped: bool) -> None:
    source = sides(tmp_path / "pictures")
    if zipped:
        source = tmp_path / "pictures.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for file in sorted((tmp_path / "pictures").rglob("*.png")):
                archive.write(file, f"inner/{file.relative_to(tmp_path / 'pictures')}")
    assert has_sides(str(source))
    split = opened(source, partner="auto", degrade="invert", paired=False)
    assert (len(split.train), len(split.holdout)) == (6, 2)
    assert split.train.partner is not None
    assert split.holdout.partner is not None
    assert (len(split.train.partner), len(split.holdout.partner)) == (6, 2)
    assert split.train.spec.channels == 1
    assert split.train.partner.spec.channels == 3
    assert split.train.name == "pictures"
    assert (split.train.pixels[0, :, :, 0] == np.asarray(other(smooth(24, 24, 100)))).all()
    assert (split.train.partner.pixels[0] == np.asarray(smooth(24, 24, 0))).all()
    # the sides of the source come before what the recipe would make of its images
    options = Data(str(source), partner="auto", degrade="invert", paired=False)
    assert augmentation_of(options).degrade is None
    assert augmentation_of(options).spec(split.train).source == Source(3, paired=False)
    assert not judging(options, split.holdout).paired


def test_the_other_side_is_a_part_of_the_fingerprint(tmp_path: Path) -> None:
    source = sides(tmp_path / "pictures")
    before = opened(source, partner="auto", paired=False).fingerprint
    assert opened(source, partner="auto", paired=False).fingerprint == before
    put(source / "trainA/a0.png", smooth(24, 24, 77))
    assert opened(source, partner="auto", paired=False).fingerprint != before


def test_a_source_of_one_side_is_spoiled_or_refused(tmp_path: Path) -> None:
    options = Data("mnist5k", partner="auto", degrade="invert", paired=False)
    split = open_images(options)
    assert split.train.partner is None
    assert augmentation_of(options).spec(split.train).source == Source(1, degradation="invert", paired=False)
    augmentation = judging(options, split.holdout)
    assert augmentation.paired
    batch = Loader(split.holdout, 8, 0, augmentation).batch_at(0)
    assert batch.condition.source is not None
    assert (batch.condition.source == -batch.image).all()
    named = Data("mnist5k", partner="edges", degrade="invert")
    assert augmentation_of(named).spec(split.train).source == Source(1, degradation="edges")
    with pytest.raises(UserError, match="no folders trainA and trainB"):
        open_images(replace(options, degrade=None))
    put(tmp_path / "plain/a.png", smooth())
    assert not has_sides(str(tmp_path / "plain"))


@pytest.mark.parametrize(("there", "missing"), [("A", "B"), ("B", "A")])
def test_a_source_of_half_a_pair_of_sides_is_not_taken_for_a_plain_folder(tmp_path: Path, there: str, missing: str) -> None:
    put(tmp_path / f"half/train{there}/a.png", smooth())
    with pytest.raises(UserError, match=f"has a folder train{there} but no train{missing}"):
        opened(tmp_path / "half", partner="auto", degrade="invert", paired=False)
    (tmp_path / f"half/train{missing}").mkdir()
    with pytest.raises(UserError, match=f"no pictures in a folder train{missing}"):
        opened(tmp_path / "half", partner="auto", degrade="invert", paired=False)


def test_what_is_no_partner_is_told_what_could_be_one(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for paired in (True, False):
        with pytest.raises(UserError, match=r"no data set or path 'grau'.*or for `data.partner`: .*gray, edges"):
            opened("mnist5k", partner="grau", paired=paired)
    with pytest.raises(UserError, match="is empty") as told:
        opened("mnist5k", partner=str(tmp_path / "empty"), paired=False)
    assert "--data.partner" not in str(told.value)
    with pytest.raises(UserError, match="empty is empty: give a folder"):
        opened(tmp_path / "empty", partner="halves")


@pytest.mark.parametrize("side", ["left", "right"])
def test_halves_of_a_picture_are_pairs(tmp_path: Path, side: str) -> None:
    for i in range(10):
        picture = Image.new("RGB", (49, 24))  # of an odd width: the middle column belongs to nobody
        halves = [smooth(24, 24, i), other(smooth(24, 24, i)).convert("RGB")]
        for left, half in zip((0, 25), halves if side == "left" else halves[::-1], strict=True):
            picture.paste(half, (left, 0))
        put(tmp_path / "h" / f"{i}.png", picture)
    split = opened(tmp_path / "h", partner="halves" if side == "left" else "halves:right", holdout=0.2)
    assert (len(split.train), len(split.holdout)) == (8, 2)
    # both are in color, for the file is
    for part in (split.train, split.holdout):
        assert match(replace(part, pixels=part.pixels[..., :1]))


@pytest.mark.parametrize("name", [lambda i, side: f"{i}.png", lambda i, side: f"{i}_{side}.png", lambda i, side: f"{side}x/{i}.png"[1:]])
def test_parallel_folders_are_paired_by_name(tmp_path: Path, name: Callable[[int, str], str]) -> None:
    a, b = parallel(tmp_path, name=name)
    split = opened(b, partner=a, holdout=0.25)
    assert (len(split.train), len(split.holdout)) == (9, 3)
    assert match(split.train)
    assert match(split.holdout)
    assert augmentation_of(Data(b, partner=a)).spec(split.train).source == Source(3, paired=True)


def test_what_has_no_partner_or_is_damaged_goes_on_both_sides(tmp_path: Path) -> None:
    a, b = parallel(tmp_path)
    (Path(a) / "3.png").unlink()
    put(Path(a) / "extra.png", smooth())
    whole = (Path(b) / "5.png").read_bytes()
    (Path(b) / "5.png").write_bytes(whole[:30])  # its header is broken
    (Path(b) / "7.png").write_bytes(whole[:-30])  # only decoding tells
    split = opened(b, partner=a, holdout=0.0)
    assert len(split.train) == 9
    assert match(split.train)
    told = {one.name.rsplit("/", 1)[-1]: one.reason for one in split.train.skipped}
    assert len(split.train.skipped) == 4
    assert told.keys() == {"3.png", "extra.png", "5.png", "7.png"}
    assert "no partner" in told["3.png"]
    assert "cut off" in told["7.png"]


def test_names_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    a, b = parallel(tmp_path, name=lambda i, side: f"{side}{i:03d}x.png")
    with pytest.raises(UserError, match="only 0 pictures of 12 have a partner"):
        opened(b, partner=a)
    assert len(opened(b, partner=a, paired=False, holdout=0.0).train) == 12
    put(Path(a) / "B000x.png", smooth())
    put(Path(a) / "B000x.b.png", smooth())
    for i in range(6):
        put(Path(a) / f"B{i:03d}x.png", smooth())
    (Path(a) / "B000x.bmp").write_bytes(encode(smooth(), "BMP"))
    with pytest.raises(UserError, match="have one name"):
        opened(b, partner=a)
    with pytest.raises(UserError, match="found by name"):
        opened("mnist5k", partner=a)


def test_sizes_that_differ_are_refused_unless_they_are_brought_to_one(tmp_path: Path) -> None:
    a, b = parallel(tmp_path)
    for i in (4, 5):
        put(Path(b) / f"{i}.png", other(smooth(48, 48, i)))
    with pytest.raises(UserError, match=r"2 pairs of 12 differ in size, the first: 4.png is 24x24, 4.png is 48x48"):
        opened(b, partner=a)
    assert len(opened(b, partner=a, size=16, holdout=0.0).train) == 12
    put(Path(b) / "4.png", other(smooth(48, 40, 4)))
    with pytest.raises(UserError, match="1 pair of 12 differs"):
        opened(b, partner=a, size=16)
    for i in range(12):
        put(Path(b) / f"{i}.png", other(smooth(48, 48, i)))
    with pytest.raises(UserError, match="24 and 48 pixels a side"):
        opened(b, partner=a, paired=False)


def test_pairs_that_are_shifted_against_each_other_are_refused(tmp_path: Path) -> None:
    big = np.random.RandomState(0).randint(0, 256, (16, 60, 60)).astype(np.uint8)
    big = np.asarray([Image.fromarray(x).resize((120, 120), Image.Resampling.BICUBIC) for x in big])[..., None]

    def images(down: int, right: int) -> Images:
        return make_images(255 - big[:, 20 - down : 84 - down, 20 - right : 84 - right], None, (), "x")

    straight = make_images(big[:, 20:84, 20:84], None, (), "x")
    assert shift_between(straight.pixels[0], images(5, -3).pixels[0])[:2] == (5, -3)
    for shift in ((0, 0), (1, 0)):
        check_alignment(straight, images(*shift))
    with pytest.raises(UserError, match="the image is 5 pixels down and 3 left"):
        check_alignment(straight, images(5, -3))
    check_alignment(straight, make_images(np.roll(images(5, -3).pixels, 1, 0), None, (), "x"))  # other scenes tell nothing


def test_held_out_pairs_that_are_trained_on_are_not_held_out(tmp_path: Path) -> None:
    a, b = (tmp_path / side for side in "AB")
    for i in range(8):
        part = "train" if i < 5 else "test"
        seed = i if i != 6 else 2  # the pair 6 of the test part is a copy of one of the training part
        put(a / part / f"{i}.png", smooth(24, 24, seed))
        put(b / part / f"{i}.png", other(smooth(24, 24, seed)))
    split = opened(b, partner=str(a))
    assert (len(split.train), len(split.holdout)) == (5, 2)
    assert match(split.holdout)
    assert [(one.name, one.reason) for one in split.train.skipped] == [(f"1 held-out picture of {b}", "trained on as well")]
    for side in (a, b):
        shutil.rmtree(side / "test")
        shutil.copytree(side / "train", side / "test")
    with pytest.raises(UserError, match="every held-out picture"):
        opened(b, partner=str(a))


def test_two_classes_of_one_source_are_two_sides(tmp_path: Path) -> None:
    whole = load("mnist5k")
    split = opened("mnist5k", partner="classes:3,7", paired=False)
    assert whole.train.labels is not None
    assert split.train.partner is not None
    assert (split.train.pixels == whole.train.pixels[whole.train.labels == 7]).all()
    assert (split.train.partner.pixels == whole.train.pixels[whole.train.labels == 3]).all()
    assert len(split.holdout) > 0
    assert split.train.spec.classes == ()
    for wrong in ("classes:3", "classes:3,3", "classes:3,cat"):
        with pytest.raises(UserError, match="does not name two classes"):
            opened("mnist5k", partner=wrong, paired=False)
    with pytest.raises(UserError, match="no pairs"):
        opened("mnist5k", partner="classes:3,7")


def test_a_loader_keeps_pairs_together_and_unpaired_sides_apart(tmp_path: Path) -> None:
    a, b = parallel(tmp_path)
    images = opened(b, partner=a, holdout=0.0).train
    for paired in (True, False):
        batch = Loader(images, 8, 0, Augmentation(flip=True, patch=16, paired=paired)).batch_at(0)
        assert batch.condition.source is not None
        red = (batch.condition.source * batch.condition.source.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
        apart = (red + batch.image).abs().amax((1, 2, 3))
        assert bool((apart < 0.02).all()) == paired


def test_a_side_of_several_sizes_names_the_true_file(tmp_path: Path) -> None:
    for name, size in (("trainA/1.png", 16), ("trainA/2.png", 16), ("trainA/244.png", 20), ("trainB/1.png", 16)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (size, size)).save(tmp_path / name)
    with pytest.raises(UserError, match=r"trainA/244\.png is 20x20"):
        load_sides(str(tmp_path), AUTO, False, LoadOptions(cache=tmp_path / "cache"))
