import hashlib
from importlib.resources import files

import numpy as np
import pytest

from calotype.data import load
from calotype.errors import UserError


def test_counts_and_split() -> None:
    split = load("mnist5k")
    assert split.train.pixels.shape == (4500, 28, 28, 1)
    assert split.holdout.pixels.shape == (500, 28, 28, 1)
    assert split.train.pixels.dtype == np.uint8
    assert split.train.labels is not None
    assert split.holdout.labels is not None
    assert np.bincount(split.train.labels).tolist() == [450] * 10
    assert np.bincount(split.holdout.labels).tolist() == [50] * 10
    assert split.train.classes == tuple("0123456789")
    assert split.train.spec.shape == (1, 28, 28)


def test_parts_have_no_image_in_common_and_none_twice() -> None:
    split = load("mnist5k")
    rows = {image.tobytes() for part in (split.train, split.holdout) for image in part.pixels}
    assert len(rows) == 5000


def test_never_changes() -> None:
    split = load("mnist5k")
    assert split.train.fingerprint == "f22b0134399eeb1750a03958edcbccf4dbe4c74f4164edd7e422c87f5d2a1b02"
    assert split.holdout.fingerprint == "1b6c09bba43c0cf9a4df978ebfee2af53c1d9849b30cad481614ae83b658cb3f"
    packed = files("calotype.data.embedded").joinpath("mnist5k.zlib").read_bytes()
    assert len(packed) < 2**20
    assert hashlib.sha256(packed).hexdigest() == "c0afc1359781760d03fdaa851b343567a95b1a5c5e253d6b34730302098fddde"


def test_clothing_is_color_photographs_of_two_kinds_that_never_change() -> None:
    split = load("clothing")
    for part, counts in ((split.train, [240, 400]), (split.holdout, [24, 40])):
        assert part.pixels.shape == (sum(counts), 64, 64, 3)
        assert part.labels is not None
        assert np.bincount(part.labels).tolist() == counts
        assert part.classes == ("pants", "t-shirt")
    assert len({image.tobytes() for part in (split.train, split.holdout) for image in part.pixels}) == 704
    packed = files("calotype.data.embedded").joinpath("clothing.zip").read_bytes()
    assert hashlib.sha256(packed).hexdigest() == "08180541f4c5667cecf9ff876963b2685fa08d78ba333de6164adcaea7674192"


def test_its_own_split_comes_before_the_share() -> None:
    assert load("mnist5k", holdout=0.3).fingerprint == load("mnist5k").fingerprint


def test_other_shapes() -> None:
    split = load("mnist5k", size=16, channels=3)
    assert split.train.pixels.shape == (4500, 16, 16, 3)
    assert (split.train.pixels[..., 0] == split.train.pixels[..., 2]).all()
    assert split.fingerprint != load("mnist5k").fingerprint


@pytest.mark.parametrize(
    ("options", "word"),
    [({"size": 4}, "size 4"), ({"size": 2000}, "size 2000"), ({"channels": 2}, "channels 2"), ({"holdout": 1.0}, "holdout")],
)
def test_impossible_options(options: dict[str, float], word: str) -> None:
    with pytest.raises(UserError, match=word):
        load("mnist5k", **options)  # type: ignore[arg-type]
