"""The watermark: noise that nobody tells from noise without the key, a p-value that is exact, and what is read of samples."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import math
import os
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import stats

import calotype
from calotype.cli import main
from calotype.errors import CalotypeError, UserError
from calotype.models import DiffusionSampling, build
from calotype.pictures import grid, to_picture, to_uint8
from calotype.provenance import detection, embed
from calotype.provenance.detection import ALPHA, MOST, WatermarkMatch, best_matches, tail, whole_weights
from calotype.provenance.watermark import NONCES, WatermarkedNoise, WatermarkKey, make_watermark_key, read_key
from calotype.tasks import watermark as reading
from calotype.tasks.watermark import read_watermark, watermarks_in
from calotype.types import ImageSpec, Noise
from tests.cli.exported import export
from tests.small import small

KEY, OTHER = WatermarkKey(bytes(range(32))), WatermarkKey(bytes(32))


def starting(key: WatermarkKey | None, n: int = 96, seed: int = 0) -> NDArray[np.float32]:
    noise = Noise(n, seed) if key is None else WatermarkedNoise(key, n, seed)
    return noise.starting(1, 28, 28).flatten(1).numpy()


@pytest.mark.parametrize("key", [KEY, OTHER, None])
def test_the_noise_is_standard_normal(key: WatermarkKey | None) -> None:
    z = starting(key)
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3
    each = [stats.kstest(row, "norm").pvalue for row in z]
    assert stats.kstest(each, "uniform").pvalue > 1e-3
    assert stats.kstest((z > 0).mean(1) * 784, stats.binom(784, 0.5).cdf).statistic < 0.25
    broken = np.abs(z) * KEY.signs(5, 784) + 0.02  # the same test sees a shift of a fiftieth
    assert stats.kstest(broken.ravel(), "norm").pvalue < 1e-3


@pytest.mark.parametrize("key", [KEY, None])
def test_images_and_places_are_not_correlated(key: WatermarkKey | None) -> None:
    def scores(z: NDArray[np.float32]) -> NDArray[np.float64]:
        """Normal scores of the correlations between rows."""
        found: NDArray[np.float64] = np.arctanh(np.corrcoef(z)[np.triu_indices(len(z), 1)]) * math.sqrt(z.shape[1] - 3)
        return found

    z = starting(key)
    for part in (z, z[:, :96].T):  # between images, and between places
        assert stats.kstest(scores(part), "norm").pvalue > 1e-3
        assert np.abs(scores(part)).max() < 5.5
    one = np.abs(z) * KEY.signs(5, 784)  # a pattern that all images share, as a watermark without nonces has it
    assert scores(one).min() > 10


def test_an_image_depends_on_key_seed_and_number_alone() -> None:
    whole = WatermarkedNoise(KEY, 5, 7)
    first, more = whole.starting(2, 3), whole.uniform(4)
    alone = WatermarkedNoise(KEY, 2, 7, start=3)
    assert torch.equal(alone.starting(2, 3), first[3:])
    assert torch.equal(alone.uniform(4), more[3:])
    for other in (WatermarkedNoise(OTHER, 5, 7), WatermarkedNoise(KEY, 5, 8), Noise(5, 7)):
        drawn = other.starting(2, 3)
        assert not torch.isclose(drawn.abs(), first.abs()).any()  # not even the sizes: no seed can be tried out without the key


def test_sizes_are_those_of_normal_numbers_and_do_not_hang_on_a_short_seed() -> None:
    sizes = KEY.sizes(3, 4, 20_000)
    assert sizes.dtype == np.float32
    assert sizes.min() > 0
    assert stats.kstest(sizes, "halfnorm").pvalue > 1e-3
    np.testing.assert_array_equal(KEY.sizes(3, 4, 99), sizes[:99])
    for other in (KEY.sizes(3, 5, 99), KEY.sizes(4, 4, 99), OTHER.sizes(3, 4, 99)):
        assert not np.isclose(other, sizes[:99], rtol=1e-6).any()
    # written out once more, and by the survival function of another distribution
    stream = hashlib.shake_256(b"calotype watermark sizes\0" + KEY.secret + bytes(7) + b"\3" + bytes(7) + b"\4").digest(4)
    uniform = (int.from_bytes(stream) + 0.5) / 2**32
    assert sizes[0] == pytest.approx(stats.halfnorm.isf(uniform), rel=1e-6)
    # what no generator of PyTorch takes part in is the same however often it is asked for
    noise = WatermarkedNoise(KEY, 2, 3)
    before = noise.starting(4)
    noise.uniform(7)
    assert torch.equal(noise.starting(4), before)
    for seed in (KEY.mixed(3, 0), KEY.mixed(3, 0) & 0xFFFFFFFF):
        assert not torch.isclose(torch.randn(4, generator=torch.Generator().manual_seed(seed)).abs(), before[0].abs()).any()


def test_no_pattern_repeats_within_a_seed_and_seeds_begin_anywhere() -> None:
    assert len({KEY.nonce(1, number) for number in range(2**63 - NONCES, 2**63)}) == NONCES
    first = np.array([KEY.nonce(seed, 0) for seed in range(2_000)])
    assert stats.kstest(first / NONCES, "uniform").pvalue > 1e-3
    assert (KEY.signs(1, 784) == KEY.signs(2, 784)).mean() == pytest.approx(0.5, abs=0.1)
    np.testing.assert_array_equal(KEY.signs(1, 784)[:99], KEY.signs(1, 99))


def test_the_tail_is_that_of_all_ways_and_of_the_binomial() -> None:
    counts = np.array([3, 4, 3, 0, 2, 1])
    weights = np.repeat(np.arange(6), counts)[3:]
    sums = np.array([weights[list(ways)].sum() for ways in itertools.product((False, True), repeat=len(weights))])
    for least in range(-1, weights.sum() + 3):
        assert tail(counts, least) == pytest.approx((sums >= least).mean(), rel=1e-9, abs=1e-300)
    for n, least in ((784, 392), (784, 500), (784, 700), (785, 640), (100, 99), (12_288, 7_000)):
        assert tail(np.array([7, n]), least) == pytest.approx(stats.binom.sf(least - 1, n, 0.5), rel=1e-9)
    assert tail(np.array([9]), 0) == 1
    assert tail(np.array([0, 0, 0, 5]), 15) == 2**-5
    assert tail(np.array([0, 0, 0, 5]), 16) == 0


def test_p_values_are_uniform_whatever_the_noise_looks_like() -> None:
    rng = np.random.default_rng(0)
    shapes = rng.standard_normal((200, 144)), rng.standard_t(1, (200, 144)), rng.choice([-1.0, 0.0, 0.2], (200, 144))
    for values in shapes:
        p = [match.p for match in best_matches(values.astype(np.float32), KEY, nonces=64)]
        assert stats.kstest(p, "uniform").pvalue > 1e-3
    nothing = best_matches(np.zeros((1, 144), np.float32), KEY, nonces=64)[0]
    assert (nothing.p, nothing.found) == (1.0, False)


def test_noise_that_was_found_badly_is_enough_and_other_keys_find_nothing() -> None:
    rng = np.random.default_rng(1)
    z = starting(KEY, 12)
    found = (3 * (z + 1.5 * rng.standard_normal(z.shape))).astype(np.float32)
    matches = best_matches(found, KEY)
    assert [match.nonce for match in matches] == [KEY.nonce(0, number) for number in range(12)]
    assert max(match.p for match in matches) < ALPHA
    assert all(0.6 < match.agreeing < 0.8 for match in matches)
    assert min(match.p for match in best_matches(found, OTHER)) > ALPHA
    assert whole_weights(found).max() <= MOST
    np.testing.assert_array_equal(whole_weights(found), whole_weights(2 * found))


def test_images_are_compared_in_parts_with_one_result(monkeypatch: pytest.MonkeyPatch) -> None:
    found = np.random.default_rng(3).standard_normal((8, 144)).astype(np.float32)
    found[3] *= KEY.signs(40, 144) * np.sign(found[3])
    whole, places = best_matches(found, KEY, nonces=64), []
    monkeypatch.setattr(detection, "_ROWS", 3)
    monkeypatch.setattr(detection, "_AT_ONCE", 144 * 20)
    monkeypatch.setattr(detection, "whole_weights", lambda rows: places.append(len(rows)) or whole_weights(rows))
    assert best_matches(found, KEY, nonces=64) == whole
    assert [rows for rows in places if rows > 1] == [3, 3, 2]  # the best pattern of each is judged by itself
    assert [place for place, one in enumerate(whole) if one.found] == [3]


def full(handle: int) -> None:
    """A disk without room."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_key_is_a_private_file_that_nothing_replaces(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["watermark", "key", "a.key"]) == 0
    key = read_key("a.key")
    assert capsys.readouterr().out == f"key {key.id} in a.key\n"
    assert stat.S_IMODE(Path("a.key").stat().st_mode) == 0o600
    assert key.secret.hex() not in repr(key)
    assert key.id not in key.secret.hex()
    assert make_watermark_key("b.key").secret != key.secret
    before = Path("a.key").read_bytes()
    assert main(["watermark", "key", "a.key"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert Path("a.key").read_bytes() == before
    # what comes to stand there after a look at the name is not replaced either, and a link to nowhere is not followed
    with monkeypatch.context() as patched:
        patched.setattr("os.path.lexists", lambda path: False)
        patched.setattr(Path, "exists", lambda path, **more: False)
        with pytest.raises(UserError, match="is there already"):
            make_watermark_key("a.key")
    assert Path("a.key").read_bytes() == before
    Path("link.key").symlink_to("target.key")
    with pytest.raises(UserError, match="is there already"):
        make_watermark_key("link.key")
    assert not Path("target.key").exists()
    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(CalotypeError, match="no space left"):
            make_watermark_key("full.key")
    assert not Path("full.key").exists()
    assert main(["watermark", "key", "c.key", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": "c.key", "id": read_key("c.key").id}
    Path("a.key").write_bytes(before.replace(b'"secret": "', b'"secret": "00', 1))
    Path("text").write_text("a key, perhaps")
    Path("json").write_text('{"secret": "00"}')
    Path("empty").touch()
    for name in ("a.key", "text", "json", "empty", "nowhere", "."):
        with pytest.raises(UserError, match=r"is no watermark key|cannot be read"):
            read_key(name)


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A flow: it is inverted but for the rounding to 8 bits."""
    return export("realnvp", tmp_path_factory.mktemp("models") / "realnvp", 1, None)


def test_what_is_drawn_with_a_key_is_found_with_it_and_with_no_other(flow: str) -> None:
    model = calotype.load(flow)
    marked, plain = (to_uint8(model.sample(6, seed=2, watermark=key)) for key in (KEY, None))
    assert all(match.found for match in watermarks_in(model, marked, KEY))
    assert [match.nonce for match in watermarks_in(model, marked, KEY)] == [KEY.nonce(2, number) for number in range(6)]
    assert not any(match.found for match in (*watermarks_in(model, plain, KEY), *watermarks_in(model, marked, OTHER)))
    wide = np.asarray(to_picture(marked[0]).resize((48, 48), Image.Resampling.BICUBIC).convert("RGB"))
    reading = read_watermark(model, wide, KEY)
    assert reading.resized == (48, 48)
    assert reading.looked_at == 1


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    out, err = capsys.readouterr()
    return code, out, "".join(line for line in err.splitlines(keepends=True) if line.startswith("calotype: "))


def test_samples_are_marked_and_traced_by_the_commands(flow: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key, other = make_watermark_key("own.key"), make_watermark_key("other.key")
    code, _, err = said(capsys, "sample", flow, "--count", "3", "--seed", "5", "--dir", "each", "--out", "g.png", "--watermark", "own.key")
    assert (code, err) == (0, "")
    assert key.secret.hex().encode() not in Path("g.png").read_bytes()
    code, out, err = said(capsys, "trace", "g.png", "each/000001.png", "--model", flow, "--watermark", "own.key")
    assert (code, err) == (0, "")
    assert out.count("the same bit for bit") == 2
    assert f"watermark of the key {key.id}: found in 3 of 3 images" in out
    assert f"watermark of the key {key.id}: found, p = " in out
    code, out, err = said(capsys, "trace", "g.png", "--model", flow)
    assert (code, err) == (0, "")
    assert f"it carries a watermark: it is drawn anew with the key {key.id} (--watermark)" in out
    code, out, err = said(capsys, "trace", "g.png", "--model", flow, "--watermark", "other.key")
    assert code == 2
    assert out.startswith(f"g.png: watermark of the key {other.id}: not found, p = ")
    assert err == f"calotype: g.png: carries a watermark of the key {key.id}, and the key given is {other.id}: give that one\n"
    # what no longer says anything of its making
    Image.open("each/000001.png").copy().save("stripped.png")
    code, out, err = said(capsys, "trace", "stripped.png", "--model", flow, "--watermark", "own.key")
    assert (code, err) == (0, "")
    assert out.startswith("stripped.png: it carries no marker of Calotype\n")
    assert "found, p = " in out
    code, out, _ = said(capsys, "trace", "stripped.png", "--model", flow, "--watermark", "other.key", "--json")
    (facts,) = json.loads(out)["files"]
    assert code == 1
    assert (facts["marker"], facts["watermark"]["found"], facts["watermark"]["key"]) == (None, False, other.id)
    assert facts["watermark"]["p"] > ALPHA
    # a sample without a watermark is drawn anew as before, and none is found in it
    said(capsys, "sample", flow, "--count", "1", "--dir", "plain")
    code, out, _ = said(capsys, "trace", "plain/000000.png", "--model", flow, "--watermark", "own.key")
    assert code == 1
    assert "the same bit for bit" in out
    assert "not found, p = " in out
    code, _, _ = said(capsys, "sample", flow, "--count", "1", "--out", "m.png", "--watermark", "own.key", "--provenance", "minimal")
    assert code == 0
    (found,) = calotype.trace("m.png")
    assert found.origin is not None
    assert (found.origin.marker.watermark, found.origin.marker.seed) == (key.id, None)


def test_a_watermark_is_found_whatever_the_marker_says(flow: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = make_watermark_key("own.key")
    said(capsys, "sample", flow, "--count", "2", "--seed", "5", "--dir", "each", "--watermark", "own.key")
    (whole,) = calotype.trace("each/000001.png")
    assert whole.origin is not None
    marker, image = whole.origin.marker, Image.open("each/000001.png").copy()
    altered, broken = embed.png_info(()), embed.png_info(((b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + b"<broken"),))
    altered.add_text("Calotype", marker.text.replace('"seed": 5', '"seed": 6').replace('"seed":5', '"seed":6'))
    for info, tells in (
        (altered, "its marker is damaged or was altered"),
        (broken, "its XMP data are broken"),
        (embed.save_options("PNG", replace(marker, weights="cd" * 32))["pnginfo"], "was made by other weights"),
        (embed.save_options("PNG", replace(marker, watermark=OTHER.id))["pnginfo"], f"carries a watermark of the key {OTHER.id}"),
        (embed.save_options("PNG", replace(marker, batch=(0, 1, 1)))["pnginfo"], "its marker was altered: what it says of its batch"),
    ):
        image.save("a.png", pnginfo=info)
        code, out, err = said(capsys, "trace", "a.png", "--model", flow, "--watermark", "own.key")
        assert code == 2, tells
        assert out.startswith(f"a.png: watermark of the key {key.id}: found, p = "), tells
        assert out.count("\n") == err.count("\n") == 1
        assert err.startswith(f"calotype: a.png: {tells}")
        code, out, _ = said(capsys, "trace", "a.png", "--model", flow, "--watermark", "own.key", "--json")
        (facts,) = json.loads(out)["files"]
        assert (code, facts["watermark"]["found"]) == (2, True)
        assert tells in facts["error"]
    image.save("a.png", pnginfo=altered)
    code, out, _ = said(capsys, "trace", "a.png", "--model", flow)
    assert (code, out) == (2, "")


def test_the_images_of_a_grid_count_times_their_number(flow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = calotype.load(flow)
    sheet = np.asarray(grid(to_uint8(model.sample(3, seed=2))))
    sheet = sheet.reshape(*sheet.shape[:2], -1)
    p = (ALPHA / 2, ALPHA / 8, 1.0, 1.0)  # of three images and of the whole sheet: the empty place is none
    monkeypatch.setattr(reading, "watermarks_in", lambda *given: [WatermarkMatch(one, 0, 0.5) for one, _ in zip(p, given[1], strict=True)])
    found = read_watermark(model, sheet, KEY)
    assert (found.found, found.p, found.images, found.looked_at) == (True, ALPHA / 2, (1,), 3)
    # a single picture that looks like a grid hides nothing: it is read whole as well
    p = (1.0, 0.5, 1.0, ALPHA / 8)
    found = read_watermark(model, sheet, KEY)
    assert (found.found, found.p, found.images, found.looked_at) == (True, ALPHA / 2, (0,), 1)
    assert found.resized == sheet.shape[1::-1]
    p = (1.0, 0.5, 1.0, ALPHA / 2)
    found = read_watermark(model, sheet, KEY)
    assert (found.found, found.p, found.images, found.looked_at, found.resized) == (False, 1.0, (), 3, None)
    # nothing but white between its places makes a picture of that size a grid
    p = (ALPHA / 2,)
    found = read_watermark(model, 255 - sheet, KEY)
    assert (found.found, found.p, found.images, found.looked_at) == (True, ALPHA / 2, (0,), 1)
    monkeypatch.setattr(reading, "MOST_CELLS", 2)
    with pytest.raises(UserError, match="a grid of 4 places: a watermark is read in 2 at most"):
        read_watermark(model, sheet, KEY)


def test_a_model_that_cannot_be_read_without_labels_is_not_marked() -> None:
    spec = ImageSpec(8, 1, ("cat", "dog"))
    never = "never saw images without their label, and a watermark is read without"
    for recipe, settings, options, tells in (
        ("flow-matching", {"label_dropout": 0.0, "embedding": 8}, {}, never),
        ("realnvp", {"label_dropout": 0.0}, {}, ""),  # of which all labels are tried
        ("tarflow", {"label_dropout": 0.0, "patch": 4}, {"guidance": 0.0}, ""),
        ("tarflow", {"patch": 4}, {}, "guidance=0.5 leads elsewhere"),
        ("flow-matching", {"embedding": 8}, {}, ""),
        ("realnvp", {}, {}, ""),
        ("tarflow", {"patch": 4}, {"guidance": 0.0}, ""),
        ("tarflow", {"patch": 4, "conditional": False}, {}, ""),
    ):
        model = calotype.Generator(build(small(recipe, **settings).model, spec), recipe, torch.device("cpu"), "ab" * 32)
        if tells:
            with pytest.raises(UserError, match=tells):
                model.sample(1, watermark=KEY, **options)
            assert model.sample(1, **options).shape == (1, 1, 8, 8)
        else:
            assert model.sample(1, watermark=KEY, **options).shape == (1, 1, 8, 8)


def test_what_cannot_be_marked_is_refused_before_anything_is_drawn(flow: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_watermark_key("own.key")
    Path("text").write_text("no key")
    gan, denoiser = export("gan", runs / "gan", 1, None), export("flow-matching", runs / "denoiser", 1, None)
    for words, tells in (
        (("sample", gan, "--watermark", "own.key"), "a gan model cannot carry a watermark"),
        (("sample", denoiser, "--watermark", "own.key", "--option", "solver=ddim", "eta=0.5"), "eta=0.5 draws noise in every step"),
        (("sample", denoiser, "--watermark", "own.key", "--option", "solver=ddpm"), "solver=ddpm draws noise in every step"),
        (("sample", flow, "--watermark", "own.key", "--option", "temperature=0"), "at temperature=0 nothing of their starting noise"),
        (("sample", flow, "--watermark", "text"), "text is no watermark key"),
        (("sample", flow, "--watermark", "nowhere"), "the watermark key nowhere cannot be read (No such file or directory)"),
        (("trace", "a.png", "--watermark", "own.key"), "name it with --model"),
        (("trace", "a.png", "--model", gan, "--watermark", "own.key"), "a gan model cannot carry a watermark"),
        (("watermark", "key"), "FILE is missing"),
        (("watermark", "lock", "own.key"), "choose key"),
        (("watermark", "key", "no/such/folder.key"), "there is no folder"),
    ):
        code, out, err = said(capsys, *words)
        assert (code, out) == (2, ""), words
        assert tells in err, words
        assert err.count("\n") == 1
        assert not list(runs.glob("*.png"))
    model = calotype.load(denoiser)
    assert model.model.sampling is DiffusionSampling
    assert model.sample(1, watermark="own.key", solver="ddim", eta=0.0).shape == (1, 1, 24, 24)


def test_it_is_said_where_the_watermark_is_not_found_again(
    flow: str, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key = make_watermark_key("own.key")
    words = ("sample", flow, "--count", "3", "--dir", "a", "--watermark", "own.key", "--json")
    code, out, err = said(capsys, *words)
    assert (code, err, json.loads(out)["watermark"]) == (0, "", {"key": key.id, "found": 3, "looked_at": 3})
    monkeypatch.setattr(
        reading, "noise_of", lambda model, images, at_once: np.ones((len(images), 784), np.float32)
    )  # a model that leads nowhere
    code, out, err = said(capsys, *words[:5], "b", *words[6:])
    assert code == 0
    assert json.loads(out)["watermark"]["found"] == 0
    assert err.startswith("calotype: the watermark is found again in 0 of 3 images that were read")
    assert err.endswith("do not rely on it with this model\n")
    assert err.count("\n") == 1


def test_the_most_probable_latents_of_clipped_images_are_nearer_than_those_of_the_middles(flow: str) -> None:
    model = calotype.load(flow)
    images = model.sample(8, seed=4, watermark=KEY)
    dark = torch.from_numpy(to_uint8(images - images.mean() - 0.9)).permute(0, 3, 1, 2) / 127.5 - 1  # most of it black
    with torch.no_grad():
        middle, found = model.model.encode(dark), model.model.invert(dark)
    with torch.no_grad():
        off = 127.5 * (model.model.decode(found) - dark).abs().max()
    assert off < 0.51  # the same bins
    assert found.square().sum() < 0.9 * middle.square().sum()
