"""A model applied to a picture: channels, depth, maps, tiles, and how good the result is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from calotype import degrade
from calotype.degrade.color import Luma
from calotype.degrade.noise import BLIND
from calotype.degrade.resize import resize
from calotype.errors import CalotypeError, UserError
from calotype.models.restorer import Restorer, RestorerConfig
from calotype.tasks.restore import Applied, Way, apply, warning
from calotype.tasks.sample import Generator
from calotype.tasks.score import Scored, Scores, degraded_case, mean, score
from calotype.types import Condition, ImageSpec, Noise, Source
from tests.stand import Stand, given_to, stand


def random(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(sum(shape))) * 2 - 1


def larger(x: Tensor) -> Tensor:
    return x[:, :1].repeat_interleave(2, 2).repeat_interleave(2, 3)


def test_a_gray_restorer_mends_each_channel_of_a_color_picture() -> None:
    picture = random(3, 30, 41)
    assert torch.allclose(apply(stand(Source(1, degradation="noise:25"), 1, lambda x: x.square()), picture), picture.square())


def test_a_gray_upscaler_enlarges_the_luma_and_interpolates_the_rest() -> None:
    picture = random(3, 20, 30) * 0.3
    made = apply(stand(Source(1, 2, degradation="downsample:2"), 1, larger), picture)
    luma = Luma()
    assert made.shape == (3, 40, 60)
    assert torch.allclose(luma.forward(made[None]), larger(luma.forward(picture[None])), atol=1e-5)
    base = resize(picture[None], 40, 60, mirror=True)
    assert torch.allclose(made[None] - base, (made[None] - base)[:, :1].expand(-1, 3, -1, -1), atol=1e-5)  # the chroma is bicubic


def test_other_models_of_one_channel_see_color_in_gray() -> None:
    picture = random(3, 20, 30)
    gray = Luma().forward(picture[None])[0]
    assert torch.allclose(apply(stand(Source(1, paired=False), 1, lambda x: -x), picture), -gray)
    colored = apply(stand(Source(1, degradation="gray"), 3, lambda x: x.expand(-1, 3, -1, -1)), picture)
    assert torch.allclose(colored, gray.expand(3, -1, -1))


def test_gray_stays_gray_where_it_is_mended_and_not_where_it_is_translated() -> None:
    picture = random(1, 20, 30)
    shift = torch.tensor([0.0, 0.1, -0.4]).view(1, 3, 1, 1)
    assert torch.allclose(
        apply(stand(Source(3, degradation="blur:1.6"), 3, lambda x: x + shift), picture), (picture - 0.1).clamp(-1, 1), atol=1e-6
    )
    assert apply(stand(Source(3, paired=False), 3, lambda x: x + shift), picture).shape == (3, 20, 30)
    assert apply(stand(Source(3, degradation="edges"), 1, lambda x: x[:, :1]), picture).shape == (1, 20, 30)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (5, 7), (17, 250)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_pixels_come_back_as_they_were_where_nothing_is_done(size: tuple[int, int], kind: type) -> None:
    pixels = np.random.default_rng(0).integers(0, np.iinfo(kind).max, (*size, 3), kind, endpoint=True)
    made, note = Applied(stand(Source(3, degradation="noise:25"), 3, lambda x: x)).pixels(pixels)
    assert note == ""
    assert made.dtype == kind
    np.testing.assert_array_equal(made, pixels)


def test_levels_and_masks_reach_the_model() -> None:
    noise = stand(Source(1, conditioning=("sigma",), degradation="noise:0-55"), 1, lambda x: x[:, :1])
    apply(noise, random(1, 20, 30))
    assert bool((given_to(noise)[:, 1] == BLIND).all())
    apply(noise, random(1, 20, 30), sigma=25)
    assert bool((given_to(noise)[:, 1] == 0.5).all())
    fill = stand(Source(3, conditioning=("mask",), degradation="mask:box"), 3, lambda x: x[:, :3])
    hole = np.zeros((20, 30), bool)
    hole[3:8, 5:20] = True
    made, _ = Applied(fill).pixels(np.full((20, 30, 3), 200, np.uint8), hole)
    edge = (given_to(fill).shape[2] - 20) // 2  # of its mirror image
    seen = given_to(fill)[:, :, edge : edge + 20, edge : edge + 30]
    assert torch.equal(seen[0, 3], torch.from_numpy(~hole).float())
    assert not seen[0, :3, 3:8, 5:20].any()
    assert set(np.unique(made[hole])) == {128}
    with pytest.raises(UserError, match="say where that is with `mask=FILE`"):
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
        apply(stand(Source(1, degradation="noise:25"), 1, lambda x: x), random(1, 9, 9), options={"stepz": 3})
    with pytest.raises(CalotypeError, match="not finite"):
        apply(stand(Source(1, degradation="noise:25"), 1, lambda x: x / 0), random(1, 9, 9))


@pytest.mark.parametrize(
    ("learned", "asked", "warns"),
    [
        ("noise:0-55", "noise:25", False),
        ("noise:0-55,shared", "noise:25", False),
        ("noise:0-55,shared", "noise:60", True),
        ("noise:0-55", "noise:55.5", True),
        ("noise:25", "noise:15", True),
        ("noise:0-55", "blur:1", True),
        ("mask:box,half", "mask:half", False),
        ("mask:box", "mask:half", True),
        ("blur:1-2+noise:5", "blur:1.5+noise:5", False),
        ("blur:1-2+noise:5", "blur:1.5", True),
        ("gray", "gray", False),
        ("", "gray", True),
    ],
)
def test_a_warning_where_a_model_learned_something_else(learned: str, asked: str, warns: bool) -> None:
    assert (warning(Source(1, degradation=learned), asked) is not None) == warns


def test_what_is_spoiled_depends_on_seed_and_number_alone() -> None:
    applied = Applied(stand(Source(3, conditioning=("sigma",), degradation="noise:0-55"), 3, lambda x: x[:, :3]), Way(seed=3))
    noisy = degrade.parse("noise:25")
    picture = random(3, 20, 30)
    first = degraded_case(applied, picture, noisy, 1)
    assert torch.equal(first.given, degraded_case(applied, picture, noisy, 1).given)
    assert not torch.equal(first.given, degraded_case(applied, picture, noisy, 2).given)
    assert first.conditioning is not None
    assert torch.equal(first.conditioning, torch.full((1, 20, 30), 0.5))
    blind = degraded_case(applied, picture, noisy, 1, blind=True).conditioning
    assert blind is not None
    assert bool((blind == BLIND).all())
    assert float((first.given - picture).std() * 127.5) == pytest.approx(25, rel=0.05)


def test_spoiling_cuts_to_the_scale_and_refuses_what_does_not_fit() -> None:
    applied = Applied(stand(Source(1, 2, degradation="downsample:2"), 1, larger))
    case = degraded_case(applied, random(3, 21, 33), degrade.parse("downsample:2"))
    assert (case.truth.shape, case.given.shape) == ((1, 3, 20, 32), (3, 10, 16))
    with pytest.raises(UserError, match="2 times larger, and `degrade=noise:25` keeps it: put downsample:2"):
        degraded_case(applied, random(3, 21, 33), degrade.parse("noise:25"))
    with pytest.raises(UserError, match="too small to be made 2 times smaller"):
        degraded_case(applied, random(3, 1, 33), degrade.parse("downsample:2"))


def test_scores_are_those_of_the_result() -> None:
    applied = Applied(stand(Source(1, degradation="noise:25"), 1, lambda x: x))
    noisy = degrade.parse("noise:25")
    case = degraded_case(applied, random(1, 64, 64) * 0.2, noisy)
    untouched = score(case, noisy, case.given)
    better = score(case, noisy, (case.given + case.truth[0]) / 2)
    assert untouched.own.psnr == pytest.approx(20.17, abs=0.5)
    assert better.own.psnr == pytest.approx(untouched.own.psnr + 6.02, abs=0.1)
    assert untouched.baselines["input"].psnr == pytest.approx(untouched.own.psnr, abs=1e-6)
    assert better.own.ssim > untouched.own.ssim
    exact = score(case, noisy, case.truth[0])
    assert exact.as_json()["psnr"] is None
    assert mean([untouched, better])["psnr"] == pytest.approx(untouched.own.psnr + 3.01, abs=0.1)
    assert "8 bit" in mean([better])["convention"]


def inpainter() -> Generator:
    """A real one with random weights."""
    torch.manual_seed(0)
    model = Restorer(
        RestorerConfig(width=8, depth=2, unshuffle=2), ImageSpec(48, 3, source=Source(3, conditioning=("mask",), degradation="mask:box"))
    )
    nn.init.normal_(model.network.tail.weight, std=0.02)  # type: ignore[union-attr, arg-type]
    return Generator(model, "inpaint", torch.device("cpu"))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_hole_larger_than_a_tile_is_filled_as_in_the_whole(kind: type, channels: int) -> None:
    ramp = (np.linspace(0.1, 0.9, 330)[:, None] * np.linspace(1, 0.2, 410))[..., None] ** np.arange(1, channels + 1)
    pixels = (ramp * np.iinfo(kind).max).astype(kind)
    hole = np.zeros((330, 410), bool)
    hole[40:300, 60:380] = True
    hole[5:9, ::3] = True
    generator, levels = inpainter(), np.iinfo(kind).max / 255
    whole, _ = Applied(generator, Way(tile=1000)).pixels(pixels, hole)
    applied = Applied(generator, Way(tile=128))
    made, note = applied.pixels(pixels, hole)
    assert note == ""
    assert np.abs(made.astype(float) - whole).max() <= levels
    np.testing.assert_array_equal(made[~hole], pixels[~hole])
    picture, known = torch.from_numpy((ramp * 2 - 1).transpose(2, 0, 1)).float(), torch.from_numpy(~hole).float()[None]
    in_floats = (applied.tensor(picture * known, known).permute(1, 2, 0).numpy() + 1) * np.iinfo(kind).max / 2
    assert np.abs(in_floats - made).max() <= 1.5 * levels
    given = torch.cat([picture.expand(3, -1, -1) * known, known])[None]
    with torch.no_grad():
        direct = generator.model.sample(Noise(1, 0), Condition(source=given))[0]
    if channels == 3:  # but where the network by itself sees zeros beyond the border
        far = np.abs((direct.permute(1, 2, 0).numpy() + 1) * np.iinfo(kind).max / 2 - made)
        assert far[12:-12, 12:-12].max() <= 1.5 * levels
    elsewhere, _ = applied.pixels(pixels, np.roll(hole, 7, 1))
    assert np.abs(elsewhere.astype(float) - made).max() > 2 * levels  # where the hole is does count


@pytest.mark.parametrize(("takes", "channels"), [(3, 3), (3, 1), (1, 3)])
def test_all_tiles_of_a_picture_get_the_light_of_the_whole(takes: int, channels: int) -> None:
    torch.manual_seed(0)
    config = RestorerConfig(network="tone", width=4, depth=2)
    model = Restorer(config, ImageSpec(24, takes, (), Source(takes, degradation="dark:1-3"))).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    generator = Generator(model, "enhance", torch.device("cpu"))
    picture = random(channels, 260, 300) * torch.linspace(0.1, 0.9, 300)  # whose parts are unlike
    whole, tiled = (apply(generator, picture, tile=tile) for tile in (None, 96))
    assert torch.allclose(tiled, whole, atol=1e-5)
    model.overview = 0  # then each tile has a light of its own
    assert float((apply(generator, picture, tile=96) - whole).abs().mean()) > 0.02


def test_a_noise_level_is_a_number_that_a_model_takes() -> None:
    for sigma in (-1.0, 255.5, float("nan"), float("inf")):
        with pytest.raises(UserError, match="is out of range: give `sigma` 0 to 255"):
            Way(sigma=sigma)
    assert (Way(sigma=0).sigma, Way(sigma=255).sigma) == (0, 255)
    with pytest.raises(UserError, match="takes no noise level"):
        Applied(stand(Source(1, degradation="noise:25"), 1, lambda x: x), Way(sigma=25))


def test_the_interpolation_of_an_upscaler_counts_for_its_reach() -> None:
    upscaler = Applied(stand(Source(1, 2, degradation="downsample:2"), 1, larger), Way(tile=96))
    assert upscaler.look.reach == 3
    assert Applied(stand(Source(1, degradation="noise:25"), 1, lambda x: x)).look.reach == 0
    picture = random(3, 150, 170) * 0.5
    whole = Applied(stand(Source(1, 2, degradation="downsample:2"), 1, larger)).tensor(picture)
    assert torch.allclose(upscaler.tensor(picture), whole, atol=1e-6)


def test_one_exact_or_tiny_picture_does_not_spoil_the_mean() -> None:
    usual = Scored(Scores(30.0, 0.9), {"input": Scores(20.0, 0.5)}, "so")
    exact = Scored(Scores(float("inf"), 1.0), {"input": Scores(20.0, 0.7)}, "so")
    tiny = Scored(Scores(40.0, float("nan")), {"input": Scores(26.0, float("nan"))}, "so")
    found = mean([usual, exact, tiny])
    assert found["psnr"] == pytest.approx((30 + 80 + 40) / 3)
    assert found["ssim"] == pytest.approx(0.95)
    assert found["baselines"]["input"] == {"psnr": pytest.approx(22.0), "ssim": pytest.approx(0.6)}
    assert found["notes"] == ["in the mean, PSNR above 80 dB counts as 80", "1 of 3 pictures without SSIM, for they are too small"]
    assert mean([usual, usual])["notes"] == []
    assert mean([tiny])["ssim"] is None


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (40, 30), (230, 250)])
@pytest.mark.parametrize("scale", [1, 2])
def test_a_restorer_sees_the_mirror_image_beyond_the_border_and_nothing_else_does(size: tuple[int, int], scale: int) -> None:
    picture = random(3, *size)
    how = "noise:25" if scale == 1 else "downsample:2"

    def spread(x: Tensor) -> Tensor:  # looks two pixels around, and sees zeros beyond what it is given
        made = nn.functional.avg_pool2d(x, 5, 1, 2, count_include_pad=True)
        return made.repeat_interleave(scale, 2).repeat_interleave(scale, 3)

    def wanted(places: Callable[[int], NDArray[np.int64]]) -> Tensor:
        rows, columns = (torch.from_numpy(places(side)) for side in size)
        larger = picture[:, rows][:, :, columns][None]
        made = nn.functional.avg_pool2d(larger, 5, 1)[0]
        return made.repeat_interleave(scale, 1).repeat_interleave(scale, 2)

    does = stand(Source(3, scale, degradation=how), 3, spread)
    made = apply(does, picture, tile=96)
    torch.testing.assert_close(Applied(does).images(picture[None])[0], made)
    torch.testing.assert_close(made, wanted(lambda side: np.pad(np.arange(side), 2, "symmetric")))
    if scale == 1 and min(size) >= 16:
        translated = apply(stand(Source(3, paired=False), 3, spread), picture)
        torch.testing.assert_close(translated, spread(picture[None])[0])


@pytest.mark.parametrize(("network", "unshuffle"), [("residual", 2), ("dncnn", 1), ("naf", 1), ("fsrcnn", 1)])
def test_what_is_flat_is_flat_up_to_its_borders(network: str, unshuffle: int) -> None:
    torch.manual_seed(0)
    config = RestorerConfig(width=8, depth=4, unshuffle=unshuffle, network=network)  # type: ignore[arg-type]
    model = Restorer(config, ImageSpec(48, 1, source=Source(1, degradation="noise:25")))
    for parameter in model.network.parameters():
        nn.init.normal_(parameter, std=0.07)
    generator = Generator(model, "denoise", torch.device("cpu"))

    def uneven(made: Tensor) -> float:
        """The largest difference between squares of pixels that the network takes as one."""
        squares = made.view(60 // unshuffle, unshuffle, 44 // unshuffle, unshuffle)
        return float((squares - squares[14:15, :, 10:11]).abs().max())

    for value in (-1.0, 0.4, 0.9):
        flat = torch.full((1, 60, 44), value)
        with torch.no_grad():
            alone = model.restore(flat[None])
        assert uneven(Applied(generator).tensor(flat)) < 1 / 255
        assert uneven(alone) > 2 / 255  # the check can fail


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_color_picture_whose_channels_are_equal_is_mended_as_the_gray_one_that_it_is(kind: type) -> None:
    rng, top = np.random.default_rng(0), np.iinfo(kind).max
    gray = rng.integers(0, top, (20, 30, 1), kind, endpoint=True)
    shift = torch.tensor([0.0, 0.1, -0.4]).view(1, 3, 1, 1)
    for source in (Source(3, degradation="blur:1.6"), Source(3, degradation="dark:1-3")):
        applied = Applied(stand(source, 3, lambda x: x * 0.9 + shift))
        made, _ = applied.pixels(np.repeat(gray, 3, 2))
        assert made.shape == (20, 30, 3)
        assert (made == made[..., :1]).all()
        np.testing.assert_array_equal(made[..., :1], applied.pixels(gray)[0])
        picture = torch.from_numpy(gray.transpose(2, 0, 1).astype(np.float32) / top * 2 - 1)
        assert torch.equal(applied.tensor(picture.expand(3, -1, -1)), applied.tensor(picture).expand(3, -1, -1))
        nearly = np.repeat(gray, 3, 2)
        nearly[7, 9, 1] ^= 1
        made, _ = applied.pixels(nearly)
        assert not (made == made[..., :1]).all()
    colorizer = Applied(stand(Source(1, degradation="gray"), 3, lambda x: x + shift))
    translator = Applied(stand(Source(3, paired=False), 3, lambda x: x + shift))
    for applied in (colorizer, translator):
        made, _ = applied.pixels(np.repeat(gray, 3, 2))
        assert not (made == made[..., :1]).all()


def test_a_gray_picture_in_color_is_spoiled_and_scored_as_the_gray_one_that_it_is() -> None:
    applied = Applied(stand(Source(3, degradation="noise:25"), 3, lambda x: x))
    gray, noisy = random(1, 20, 30), degrade.parse("noise:25")
    case, alone = (degraded_case(applied, picture, noisy) for picture in (gray.expand(3, -1, -1), gray))
    assert torch.equal(case.given, alone.given)
    assert case.truth.shape == (1, 1, 20, 30)
    assert degraded_case(applied, random(3, 20, 30), noisy).truth.shape == (1, 3, 20, 30)
