"""PSNR, SSIM and luma against scikit-image, MS-SSIM against torchmetrics, and the conventions that they are quoted in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor
from torch.nn.functional import interpolate
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from calotype import degrade
from calotype.metrics import similarity
from calotype.metrics.quality import Convention, convention_for, luma, psnr, published_bicubic
from calotype.metrics.similarity import ms_ssim, ssim

WANG = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


def pair(n: int = 3, channels: int = 3, height: int = 40, width: int = 33, noise: float = 0.2) -> tuple[Tensor, Tensor]:
    """Smooth images in [-1, 1], and the same with noise of rising strength: within the range, but between the 256 levels."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(n, channels, 6, 5, generator=generator) * 1.6 - 0.8
    image = interpolate(coarse, (height, width), mode="bilinear")
    strength = noise * torch.linspace(0.5, 1.5, n).view(-1, 1, 1, 1)
    return image, (image + strength * torch.randn(image.shape, generator=generator)).clamp(-1, 1)


def levels(image: Tensor) -> NDArray[np.uint8]:
    """(N, H, W, C) as files hold them."""
    return ((image.double() + 1) * 127.5).round().clamp(0, 255).permute(0, 2, 3, 1).numpy().astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_psnr_is_that_of_scikit_image(channels: int) -> None:
    a, b = pair(channels=channels)
    found = psnr(a, b)
    assert found.dtype == torch.float64
    theirs = [peak_signal_noise_ratio(x, y, data_range=2) for x, y in zip(a.double().numpy(), b.double().numpy(), strict=True)]
    np.testing.assert_allclose(found.numpy(), theirs, rtol=1e-10)
    assert found[0] > found[1] > found[2]
    bytes_a, bytes_b = (torch.from_numpy(levels(x)).float() for x in (a, b))
    theirs = [peak_signal_noise_ratio(x, y) for x, y in zip(levels(a), levels(b), strict=True)]
    np.testing.assert_allclose(psnr(bytes_a, bytes_b, peak=255).numpy(), theirs, rtol=1e-10)
    assert psnr(a, a).tolist() == [torch.inf] * 3
    assert float(psnr(torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.2))) == pytest.approx(20, abs=1e-5)


def test_psnr_of_some_of_the_pixels() -> None:
    a, b = pair()
    mask = (torch.rand(3, 1, 40, 33, generator=torch.Generator().manual_seed(1)) < 0.3).float()
    for row in range(3):
        chosen = mask[row, 0].bool()
        theirs = peak_signal_noise_ratio(a[row][:, chosen].double().numpy(), b[row][:, chosen].double().numpy(), data_range=2)
        assert float(psnr(a, b, mask=mask)[row]) == pytest.approx(theirs, rel=1e-10)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(40, 33), (11, 11), (12, 60)])
def test_ssim_is_that_of_scikit_image(channels: int, height: int, width: int) -> None:
    a, b = pair(3, channels, height, width)
    found = ssim(a, b)
    theirs = [
        structural_similarity((x + 1).double().numpy(), (y + 1).double().numpy(), data_range=2, channel_axis=0, **WANG)
        for x, y in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(found.numpy(), theirs, atol=1e-7)
    assert found[0] > found[2]
    assert ssim(a, a).tolist() == pytest.approx([1] * 3)
    torch.testing.assert_close(ssim(b, a), found)


def test_ssim_of_8_bit_values() -> None:
    a, b = (levels(x) for x in pair(1, 1))
    theirs = structural_similarity(a[0, :, :, 0], b[0, :, :, 0], **WANG)
    rescaled = [torch.from_numpy(x).permute(0, 3, 1, 2).double() / 127.5 - 1 for x in (a, b)]
    assert float(ssim(*rescaled)) == pytest.approx(theirs, abs=1e-9)


def test_ssim_of_the_windows_around_some_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = pair()
    mask = torch.zeros(3, 1, 40, 33)
    mask[:, :, 3:20, 10:30] = 1
    theirs = []
    for row in range(3):
        arrays = ((x[row] + 1).double().numpy() for x in (a, b))
        _, whole = structural_similarity(*arrays, data_range=2, channel_axis=0, full=True, **WANG)
        theirs.append(whole[:, 5:20, 10:28].mean())  # windows lie within the image
    np.testing.assert_allclose(ssim(a, b, mask=mask).numpy(), theirs, atol=1e-7)
    before = ssim(a, b)
    monkeypatch.setattr(similarity, "_STRIP", 33 * 7)
    np.testing.assert_allclose(ssim(a, b, mask=mask).numpy(), theirs, atol=1e-7)
    torch.testing.assert_close(ssim(a, b), before)


def test_images_smaller_than_a_window_have_no_ssim() -> None:
    for height, width in ((10, 40), (40, 10), (1, 1)):
        a, b = pair(2, 3, height, width)
        assert bool(ssim(a, b).isnan().all())
        assert bool(psnr(a, b).isfinite().all())
    assert not bool(ssim(*pair(2, 3, 11, 11)).isnan().any())


@pytest.mark.parametrize(("height", "width"), [(176, 181), (193, 208)])
def test_ms_ssim_is_that_of_torchmetrics(height: int, width: int) -> None:
    """But for the coarsest scale, where it mirrors images beyond their borders: that is left to scikit-image."""
    a, b = pair(2, 1, height, width, noise=0.5)
    found = ms_ssim(a, b)
    betas = (0.0448, 0.2856, 0.3001, 0.2363, 0.0)
    for row in range(2):
        one, other = ((x[row : row + 1] + 1).double() for x in (a, b))
        finer = multiscale_structural_similarity_index_measure(one, other, data_range=2.0, betas=betas, normalize="relu")
        small = (x[0, :, : height // 16 * 16, : width // 16 * 16] for x in (one, other))
        small = (x.unflatten(1, (-1, 16)).unflatten(3, (-1, 16)).mean((2, 4)).numpy() for x in small)
        coarsest = structural_similarity(*small, data_range=2, channel_axis=0, **WANG)
        assert float(found[row]) == pytest.approx(float(finer) * coarsest**0.1333, abs=1e-6)
    assert 0.2 < float(found[1]) < float(found[0]) < 0.99
    assert ms_ssim(a, a).tolist() == pytest.approx([1, 1])


def test_ms_ssim_needs_176_pixels() -> None:
    assert bool(ms_ssim(*pair(1, 1, 175, 300)).isnan().all())


def test_luma_is_that_of_matlab() -> None:
    """rgb2ycbcr of 8-bit values, 16 to 235; scikit-image's has the same constants and does not round."""
    a, _ = pair(2, 3, 64, 64)
    theirs = np.floor(rgb2ycbcr(levels(a))[..., 0] + 0.5)
    found = (luma(a).double() + 1) * 127.5
    assert found.shape == (2, 1, 64, 64)
    np.testing.assert_allclose(found[:, 0].numpy(), theirs, atol=1e-4)
    corners = torch.tensor([[-1.0, -1, -1], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]).view(5, 3, 1, 1)
    assert ((luma(corners) + 1) * 127.5).round().flatten().tolist() == [16, 235, 81, 145, 41]  # as MATLAB's documentation has them
    assert torch.equal(luma(2 * corners), luma(corners))


@pytest.mark.parametrize("crop", [0, 3])
@pytest.mark.parametrize("space", ["luma", "rgb"])
def test_a_convention_rounds_converts_and_crops(space: str, crop: int) -> None:
    a, b = pair(2, 3, 40, 33)
    convention = Convention(space, crop)  # type: ignore[arg-type]
    found = convention.psnr(2 * a, b), convention.ssim(2 * a, b)  # what no file would hold is clipped
    for row, (x, y) in enumerate(zip(levels(2 * a), levels(b), strict=True)):
        if space == "luma":
            x, y = (np.floor(rgb2ycbcr(image)[..., :1] + 0.5).astype(np.uint8) for image in (x, y))
        x, y = (image[crop : 40 - crop, crop : 33 - crop] for image in (x, y))
        assert float(found[0][row]) == pytest.approx(peak_signal_noise_ratio(x, y), rel=1e-6)
        assert float(found[1][row]) == pytest.approx(structural_similarity(x, y, channel_axis=2, **WANG), abs=1e-6)
    assert ("luma" in convention.text) == (space == "luma")
    assert ("3 border pixels" in convention.text) == (crop == 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_bicubic_as_published_is_luma_that_goes_down_and_up_again(channels: int) -> None:
    """By torch, whose borders differ; rounded only where it is scored."""
    truth, _ = pair(2, channels, 42, 36)
    pixels = levels(truth)
    seen = np.floor(rgb2ycbcr(pixels)[..., 0] + 0.5) if channels == 3 else pixels[..., 0].astype(np.float64)
    small = interpolate(torch.from_numpy(seen)[:, None], (14, 12), mode="bicubic", antialias=True)
    large = interpolate(small, (42, 36), mode="bicubic", antialias=True)
    made = (published_bicubic(truth, 3) + 1) * 127.5
    inside = (slice(None), slice(None), slice(14, -14), slice(14, -14))
    np.testing.assert_allclose(made[inside].numpy(), large[inside].numpy(), atol=1e-6)
    assert float((made - made.round()).abs().mean()) > 0.2
    convention = convention_for(degrade.parse("downsample:3"), channels)
    rounded = made.round().clamp(0, 255).numpy().astype(np.uint8)
    for row in range(2):
        theirs = peak_signal_noise_ratio(seen[row, 3:-3, 3:-3].astype(np.uint8), rounded[row, 0, 3:-3, 3:-3])
        assert float(convention.psnr(published_bicubic(truth, 3), truth)[row]) == pytest.approx(theirs, rel=1e-6)


def test_gray_images_are_scored_as_they_are() -> None:
    a, b = pair(1, 1)
    convention = Convention("gray")
    assert float(convention.psnr(a, b)) == pytest.approx(peak_signal_noise_ratio(levels(a), levels(b)), rel=1e-6)
    assert "gray values" in convention.text


def test_missing_pixels_alone_count_where_the_convention_says_so() -> None:
    a, b = pair()
    b[:, :, :, :16] = a[:, :, :, :16]
    missing = torch.zeros(3, 1, 40, 33)
    missing[:, :, :, 16:] = 1
    convention = Convention("rgb", holes=True)
    for row in range(3):
        theirs = peak_signal_noise_ratio(levels(a)[row, :, 16:], levels(b)[row, :, 16:])
        assert float(convention.psnr(a, b, missing)[row]) == pytest.approx(theirs, rel=1e-6)
    assert bool((convention.ssim(a, b, missing) < Convention("rgb").ssim(a, b)).all())
    assert torch.equal(Convention("rgb").psnr(a, b, missing), Convention("rgb").psnr(a, b))
    assert "missing pixels only" in convention.text
    with pytest.raises(ValueError, match="mask"):
        convention.psnr(a, b)


@pytest.mark.parametrize(
    ("spec", "channels", "expected", "resized"),
    [
        (None, 3, Convention("rgb"), False),
        ("noise:25", 1, Convention("gray"), False),
        ("noise:25", 3, Convention("rgb"), False),
        ("gray", 3, Convention("rgb"), False),
        ("downsample:3", 3, Convention("luma", 3), True),
        ("downsample:4", 1, Convention("gray", 4), True),
        ("blur:1+downsample:2", 3, Convention("luma", 2), True),
        ("real:2", 3, Convention("luma", 2), False),
        ("mask:box", 3, Convention("rgb", holes=True), False),
    ],
)
def test_every_degradation_is_scored_as_in_the_literature(spec: str | None, channels: int, expected: Convention, resized: bool) -> None:
    found = convention_for(None if spec is None else degrade.parse(spec), channels)
    assert (found.space, found.crop, found.holes) == (expected.space, expected.crop, expected.holes)
    assert bool(found.resizer) == resized
    assert ("imresize" in found.text) == resized
    assert "SSIM with an 11x11 Gaussian window of 1.5" in found.text
