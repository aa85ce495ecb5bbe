import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_samples import OTHERS, UNUSABLE, USABLE, encode, smooth
from PIL import Image

from calotype.cli.check_text import describe
from calotype.data import Loader, check, load, prepare
from calotype.data.duplicates import PAIRS, Near, exact_groups, miniature, near_pairs
from calotype.data.load import namesake
from calotype.errors import UserError
from calotype.recipes import choice, named
from calotype.recipes.choice import of_check
from tests.fuzz import attempt

Write = Callable[[dict[str, Image.Image | bytes]], Path]


def described(source: str) -> list[str]:
    found = check(source)
    return describe(found, of_check(found))


def test_hostile_folder(hostile: Path) -> None:
    found = check(str(hostile))
    assert found.images == USABLE
    assert len(found.skipped) == UNUSABLE + 1
    assert found.others == OTHERS
    assert found.animated == 1
    assert found.modes["CMYK"] == 1
    assert found.formats["GIF"] == 1
    assert found.sizes.smallest == (1, 1)
    assert found.sizes.largest == (2000, 2)
    assert found.sizes.common[0][0] == "40x40"
    assert {"really-a-png.jpg", "no extension", "deep/er/nested.bmp"} in [set(group) for group in found.exact]
    json.dumps(found.to_dict())
    text = "\n".join(describe(found, of_check(found)))
    for word in ("bad/truncated.jpg: cut off", "20 usable images, 11 unusable", "--size", "four times as long"):
        assert word in text


def test_clean_digits() -> None:
    found = check("mnist5k")
    assert found.images == 5000
    assert found.classes == {str(n): 500 for n in range(10)}
    assert (found.exact_extra, found.near_pairs, found.across) == (0, 0, 0)
    assert (found.train, found.holdout, found.own_split) == (4500, 500, True)
    assert (of_check(found).size, of_check(found).channels, of_check(found).recipe, of_check(found).batch) == (28, 1, "flow-matching", 32)
    assert set(of_check(found).reasons) == {"size", "channels", "recipe", "batch", "flip", "minutes"}


def test_duplicates_across_the_split_are_called_out(write_tree: Write) -> None:
    def jpeg(image: Image.Image) -> bytes:
        return encode(image, "JPEG", quality=70)

    files: dict[str, Image.Image | bytes] = {f"train/{n}.png": smooth(48, 48, n) for n in range(12)}
    files["test/a.png"] = smooth(48, 48, 3)  # exactly
    files["test/b.jpg"] = jpeg(smooth(48, 48, 5))  # nearly
    files["test/c.png"] = smooth(48, 48, 77)
    files["train/copy.jpg"] = jpeg(smooth(48, 48, 7))
    found = check(str(write_tree(files)))
    assert found.exact == (("test/a.png", "train/3.png"),)
    assert found.exact_extra == 1
    assert {tuple(pair[:2]) for pair in found.near} == {("test/b.jpg", "train/5.png"), ("train/7.png", "train/copy.jpg")}
    assert set(found.across_examples) == {("test/a.png", "train/3.png"), ("test/b.jpg", "train/5.png")}
    assert found.across == 2
    assert any("WARNING" in line for line in describe(found, of_check(found)))


def changed(image: Image.Image) -> dict[str, Image.Image]:
    noise = np.random.RandomState(0).randint(-5, 6, (*image.size[::-1], 3))
    return {
        "recompressed": Image.open(io.BytesIO(encode(image, "JPEG", quality=60))),
        "resized": image.resize((80, 80), Image.Resampling.BICUBIC),
        "brighter": image.point(lambda level: min(255, int(level * 1.08))),
        "noisy": Image.fromarray(np.clip(np.asarray(image).astype(int) + noise, 0, 255).astype(np.uint8)),
        "gray": image.convert("L"),
    }


@pytest.mark.parametrize("kind", ["recompressed", "resized", "brighter", "noisy", "gray"])
def test_near_duplicates_are_found_and_others_are_not(kind: str) -> None:
    originals = [smooth(64, 64, n) for n in range(40)]
    looks = [miniature(image) for image in (*originals, *(changed(image)[kind] for image in originals[:10]))]
    pairs = near_pairs(np.array([look[0] for look in looks], np.uint64), np.stack([look[1] for look in looks]))
    assert {(pair.first, pair.second) for pair in pairs} == {(n, 40 + n) for n in range(10)}
    assert all(0 <= pair.difference <= 0.13 for pair in pairs)


def test_shifted_and_mirrored_digits_are_no_duplicates() -> None:
    digits = load("mnist5k").holdout.pixels[:100, :, :, 0]
    other = np.concatenate([np.roll(digits, 2, axis=2), digits[:, :, ::-1]])
    looks = [miniature(Image.fromarray(image)) for image in (*digits, *other)]
    pairs = near_pairs(np.array([look[0] for look in looks], np.uint64), np.stack([look[1] for look in looks]))
    assert len(pairs) < 10  # a zero or an eight may be its own mirror image


def test_flat_images_are_compared_by_their_level() -> None:
    looks = [miniature(Image.new("L", (20, 20), level)) for level in (0, 0, 100, 255)]
    pairs = near_pairs(np.array([look[0] for look in looks], np.uint64), np.stack([look[1] for look in looks]))
    assert [(pair.first, pair.second) for pair in pairs] == [(0, 1)]


def test_thousands_of_near_copies_end_the_search() -> None:
    rng = np.random.RandomState(0)
    still = np.asarray(smooth(24, 24).convert("L")).astype(int)
    frames = np.clip(still + rng.randint(-3, 4, (1000, 24, 24)), 0, 255).astype(np.uint8)
    found: list[Near] = []
    attempt(lambda: found.extend(near_pairs(np.zeros(1000, np.uint64), frames)))
    assert len(found) == PAIRS
    assert len({(pair.first, pair.second) for pair in found}) == PAIRS
    assert [pair.difference for pair in found] == sorted(pair.difference for pair in found)
    few = near_pairs(np.zeros(40, np.uint64), frames[:40])
    assert len(few) == 40 * 39 // 2


def test_a_large_prepared_file_is_checked(write_tree: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(str(write_tree({f"{n}.png": smooth(16, 16, n) for n in range(20)})), tmp_path / "a")
    for name in ("calotype.data.prepared", "calotype.data.load"):
        monkeypatch.setattr(sys.modules[name], "memory_limit", lambda: 100)
    assert check(str(tmp_path / "a.calotype")).images == 20
    with pytest.raises(UserError, match="too large to be brought to another shape"):
        load(str(tmp_path / "a.calotype"), size=8)


def test_exact_groups() -> None:
    table = np.array([[1], [2], [1], [3], [2], [1]], np.uint8).repeat(32, axis=1)
    assert exact_groups(table) == [[0, 2, 5], [1, 4]]


def test_prepared_file_is_checked_too(tmp_path: Path) -> None:
    prepare("mnist5k", tmp_path / "a")
    found = check(str(tmp_path / "a.calotype"))
    assert (found.images, found.train, found.own_split) == (5000, 4500, True)


def test_what_a_prepared_file_left_out_is_listed(hostile: Path, tmp_path: Path) -> None:
    skipped = check(str(hostile)).skipped
    prepare(str(hostile), tmp_path / "a", size=16)
    prepare(str(tmp_path / "a.calotype"), tmp_path / "b", size=8)  # what was lost on the way stays known
    for name in ("a", "b"):
        found = check(str(tmp_path / f"{name}.calotype"))
        assert found.kind == "prepared"
        assert set(found.skipped) == set(skipped)
        assert found.others == OTHERS
    assert any(line.startswith("  unusable  bad/half.png: cut off") for line in describe(found, of_check(found)))
    assert set(load(str(tmp_path / "a.calotype"), size=8).train.skipped) == set(skipped)
    assert check("mnist5k").skipped == ()


def test_check_and_training_give_one_reason_for_each_file(hostile: Path) -> None:
    jpeg, png = encode(smooth(), "JPEG"), encode(smooth(), "PNG")
    for name, data in {"head.jpg": jpeg[:100], "middle.jpg": jpeg[:-50], "head.png": png[:20], "middle.png": png[:60]}.items():
        (hostile / "bad" / name).write_bytes(data)
    checked, trained = check(str(hostile)).skipped, load(str(hostile), size=16).train.skipped
    assert len(checked) == UNUSABLE + 5
    assert set(checked) == set(trained)
    reasons = {entry.name: entry.reason for entry in checked}
    assert reasons["bad/head.jpg"] == "cut off: the JPEG file ends in its header"
    assert reasons["bad/head.png"] == "cut off: the end of the PNG data is missing"


def test_sizes_are_of_upright_images(write_tree: Write) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    sideways = encode(smooth(54, 165), "JPEG", exif=turned)
    folder = write_tree({"a.jpg": sideways, "b.jpg": sideways, "c.jpg": encode(smooth(165, 54), "JPEG")})
    found = check(str(folder))
    assert found.sizes.common == (("165x54", 3),)
    with pytest.raises(UserError, match="images are 165x54, not square"):
        load(str(folder))
    long = check(str(write_tree({"a.png": smooth(300, 4), "b.png": smooth(90, 80), "c.png": smooth(1, 2)})))
    assert (long.sizes.widths, long.sizes.heights) == ((1, 300), (2, 80))
    assert "widths 1 to 300, heights 2 to 80, median 300x4" in describe(long, of_check(long))[1]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 11])
def test_the_batch_advised_is_one_that_training_takes(write_tree: Write, count: int) -> None:
    folder = str(write_tree({f"{n}.png": smooth(16, 16, n) for n in range(count)}))
    found = check(folder)
    split = load(folder)
    assert found.train == len(split.train)
    Loader(split.train, of_check(found).batch, seed=0)
    with pytest.raises(UserError, match="too few for a batch"):
        Loader(split.train, found.train + 1, seed=0)
    assert of_check(found).batch == {1: 1, 2: 2, 3: 2, 4: 4, 11: 4}[count]
    text = "\n".join(describe(found, of_check(found)))
    assert ("none held out" in text) == (count < 11)
    assert "0 held out" not in text


def test_numbers_agree_with_their_words(write_tree: Write) -> None:
    files: dict[str, Image.Image | bytes] = {f"{n}.png": smooth(48, 48, n) for n in range(4)}
    alone = "\n".join(described(str(write_tree(files))))
    assert "0 images repeat another" in alone
    assert "0 pairs are nearly the same" in alone
    assert "near duplicates: miniatures" not in alone
    files |= {"same.png": smooth(48, 48, 1), "near.jpg": encode(smooth(48, 48, 2), "JPEG", quality=70), "note.txt": b"hello"}
    paired = "\n".join(described(str(write_tree(files))))
    assert "1 image repeats another" in paired
    assert "1 pair is nearly the same" in paired
    assert "near duplicates: miniatures" in paired
    assert "1 other file\n" in paired


def test_advice(write_tree: Write) -> None:
    few = check(str(write_tree({f"{n}.png": smooth(100, 90, n) for n in range(20)})))
    assert (of_check(few).size, of_check(few).channels, of_check(few).recipe, of_check(few).batch) == (64, 3, "projected", 4)
    assert any("few" in note for note in few.notes)
    coded = check(str(write_tree({f"{n}.png": smooth(24, 24, n).convert("L").convert("RGB") for n in range(20)})))
    assert (of_check(coded).size, of_check(coded).channels) == (24, 1)
    assert any("`data.channels=1`" in note for note in coded.notes)


def test_nothing_to_check(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="empty"):
        check(str(tmp_path))


def test_import_is_light() -> None:
    code = "import sys, calotype.data; print([m for m in ('scipy', 'sklearn', 'pooch', 'requests') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        (
            [(60, 80)] * 4,
            "all not square, mostly 60x80: training keeps the middle square (--data.fit crop), so that 25% of the height is lost;",
        ),
        (
            [(80, 60)] * 2 + [(50, 50)],
            "2 of 3 not square, mostly 80x60: training keeps the middle square (--data.fit crop), so that 25% of the width",
        ),
        ([(80, 60), (80, 60), (50, 100)], "so that 33% of the longer side is lost on average (at most 50%); --data.fit pad"),
    ],
)
def test_what_cropping_costs_is_told_with_its_share(write_tree: Write, sizes: list[tuple[int, int]], said: str) -> None:
    found = check(str(write_tree({f"{n}.png": smooth(*size, n) for n, size in enumerate(sizes)})))
    assert said in "\n".join(describe(found, of_check(found)))
    assert found.to_dict()["sizes"]["oblong"] == sum(a != b for a, b in sizes)


def test_of_squares_nothing_is_cropped(write_tree: Write) -> None:
    found = check(str(write_tree({f"{n}.png": smooth(40, 40, n) for n in range(3)})))
    assert "  shape" not in "\n".join(describe(found, of_check(found)))


def test_classes_that_are_promised_are_learned_by_the_advised_command(write_tree: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    color = str(write_tree({f"{kind}/{n}.png": smooth(40, 40, n) for kind in ("cat", "dog") for n in range(8)}))
    for recipe in ("projected", "dcgan"):
        monkeypatch.setattr(choice, "file_of", lambda weights, there=recipe == "projected": there or None)
        lines = described(color)
        assert any(f"calotype train {recipe} " in line for line in lines)
        promised = any("learns the 2 classes" in line for line in lines)
        assert promised == getattr(named(recipe).model, "conditional", False)


def test_a_folder_of_copies_says_so_first_and_counts_as_what_it_is(write_tree: Write) -> None:
    copies = str(write_tree({f"{n}.png": smooth(48, 48, n % 2) for n in range(80)}))
    found = check(copies)
    assert found.different == 2
    assert described(copies)[1] == "  WARNING   these are 2 images, repeated: a generator can learn no more than that"
    assert of_check(found).batch == 2


def test_a_folder_that_is_called_as_a_data_set_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clothing").mkdir()
    assert namesake("clothing") is None
    monkeypatch.chdir(tmp_path)
    assert namesake("clothing") == "clothing is the data set of that name; for what lies here under the same name give ./clothing"
    assert namesake("./clothing") is None
