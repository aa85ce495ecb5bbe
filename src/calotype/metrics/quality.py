"""How close an image comes to the true one, in the conventions that published numbers are quoted in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from calotype.degrade import Degradation
from calotype.degrade.base import round8
from calotype.degrade.resize import resize

WINDOW, WIDTH = 11, 1.5  # pixels a side of the Gaussian window of SSIM, and its standard deviation
STABLE = (0.01, 0.03)  # its constants K1 and K2
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # weights of the scales of MS-SSIM, the finest first (Wang et al. 2003)
_STRIP = 1 << 18  # pixels whose SSIM is computed at a time: what bounds the memory
_LUMA = (65.481, 128.553, 24.966)  # of MATLAB's rgb2ycbcr, for colors in [0, 1]


def psnr(a: Tensor, b: Tensor, *, peak: float = 2.0, mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio 10 log10(peak^2 / MSE) of each image, (N,) float64 in dB; infinite where both are equal.

    Args:
        a: (N, C, H, W).
        b: The same shape.
        peak: Largest value less the smallest: 2 in [-1, 1].
        mask: (N, 1, H, W), one where pixels count and zero elsewhere; all count where there is none.
    """
    square = (a.detach().cpu().double() - b.detach().cpu().double()).square().mean(1, keepdim=True)
    return 10 * torch.log10(peak**2 / _mean(square, mask))


def ssim(a: Tensor, b: Tensor, *, peak: float = 2.0, mask: Tensor | None = None) -> Tensor:
    """Structural similarity of each image, the mean over its channels, (N,) float64 (Wang et al. 2004, eq. 13).

    Windows are Gaussian, 11x11 with standard deviation 1.5, and lie within the image; variances are biased; K is 0.01 and 0.03.

    Args:
        a: (N, C, H, W).
        b: The same shape.
        peak: Largest value less the smallest: 2 in [-1, 1].
        mask: (N, 1, H, W): only windows around pixels where it is one count.

    Returns:
        At most 1; NaN for images smaller than a window.
    """
    return _similarity(a.detach().cpu(), b.detach().cpu(), peak, mask)[0]


def ms_ssim(a: Tensor, b: Tensor, *, peak: float = 2.0) -> Tensor:
    """SSIM over five scales, each half of the one before, (N,) float64 (Wang et al. 2003); NaN below 176 pixels a side."""
    if min(a.shape[2:]) < WINDOW << len(SCALES) - 1:
        return torch.full((len(a),), torch.nan, dtype=torch.float64)
    a, b = a.detach().cpu(), b.detach().cpu()
    result = torch.ones(len(a), dtype=torch.float64)
    for scale, weight in enumerate(SCALES):
        if scale:
            a, b = functional.avg_pool2d(a, 2), functional.avg_pool2d(b, 2)
        whole, structure = _similarity(a, b, peak, None)
        result = result * (whole if scale == len(SCALES) - 1 else structure).clamp(min=0) ** weight
    return result


def luma(image: Tensor) -> Tensor:
    """The luma (N, 1, H, W) of color images (N, 3, H, W): MATLAB's ``rgb2ycbcr`` of 8-bit values, 16 to 235, itself 8-bit.

    Like the image it is in [-1, 1], where -1 stands for 0 and 1 for 255; values that a file would not hold are rounded first.
    """
    shares = torch.tensor(_LUMA, dtype=torch.float64, device=image.device).view(1, 3, 1, 1)
    level = (round8(image.double()) * 0.5 + 0.5).mul_(shares).sum(1, keepdim=True).add_(16)
    return ((level + 0.5).floor() / 127.5 - 1).to(image.dtype)


@dataclass(frozen=True)
class Convention:
    """What is compared when a score is quoted: images are clipped and rounded to 8 bit, then these."""

    space: Literal["luma", "rgb", "gray"]  # luma of color images, all three channels, or the one that there is
    crop: int = 0  # border pixels that do not count
    holes: bool = False  # whether only missing pixels count
    resizer: str = ""  # how smaller images were made, where there are any

    @property
    def text(self) -> str:
        """The convention in a sentence."""
        space = {"luma": "luma (rgb2ycbcr, 16 to 235)", "rgb": "RGB", "gray": "gray values"}[self.space]
        parts = [f"{space} in 8 bit, range 255"]
        if self.crop:
            parts.append(f"{self.crop} border pixels cut off")
        if self.holes:
            parts.append("missing pixels only")
        if self.resizer:
            parts.append(self.resizer)
        parts.append("SSIM with an 11x11 Gaussian window of 1.5, K 0.01 and 0.03, windows within the image")
        return "; ".join(parts)

    def psnr(self, a: Tensor, b: Tensor, mask: Tensor | None = None) -> Tensor:
        """PSNR (N,) in dB of images (N, C, H, W) in [-1, 1], or of luma (N, 1, H, W) for the luma convention.

        ``mask`` (N, 1, H, W) is one where pixels are missing.
        """
        return psnr(self._seen(a), self._seen(b), mask=self._holes(mask))

    def ssim(self, a: Tensor, b: Tensor, mask: Tensor | None = None) -> Tensor:
        """SSIM (N,), as ``psnr``."""
        return ssim(self._seen(a), self._seen(b), mask=self._holes(mask))

    def ms_ssim(self, a: Tensor, b: Tensor) -> Tensor:
        """MS-SSIM (N,) of images as in ``psnr``; of holes alone there is none, it is that of the whole images."""
        return ms_ssim(self._seen(a), self._seen(b))

    def _seen(self, image: Tensor) -> Tensor:
        image = luma(image) if self.space == "luma" and image.shape[1] == 3 else round8(image)  # one channel is luma already
        return image[:, :, self.crop : image.shape[2] - self.crop, self.crop : image.shape[3] - self.crop]

    def _holes(self, mask: Tensor | None) -> Tensor | None:
        if not self.holes:
            return None
        if mask is None:
            raise ValueError("only missing pixels count: give the mask of them")
        return mask[:, :, self.crop : mask.shape[2] - self.crop, self.crop : mask.shape[3] - self.crop]


def published_bicubic(truth: Tensor, scale: int) -> Tensor:
    """What tables of super-resolution scores call bicubic, (N, 1, H, W) float64: luma that is made smaller and larger again.

    The luma of color images is 8-bit (gray images are as they are), and nothing is rounded on the way: not what a method makes of the
    8-bit pictures that it is given, which are less exact. Borders are mirrored. Sides are multiples of ``scale``.
    """
    seen = (luma(truth) if truth.shape[1] == 3 else round8(truth)).double()
    height, width = seen.shape[2:]
    return resize(resize(seen, height // scale, width // scale, mirror=True), height, width, mirror=True)


def convention_for(degradation: Degradation | None, channels: int) -> Convention:
    """The convention in which the literature scores restoration from ``degradation``, for true images of so many channels.

    Super-resolution: luma, with as many border pixels cut off as the scale. Inpainting: missing pixels only. Else all of the image.
    Gray images are scored as they are.
    """
    whole: Literal["rgb", "gray"] = "gray" if channels == 1 else "rgb"
    if degradation is None:
        return Convention(whole)
    holes = "mask" in degradation.known
    if degradation.scale == 1:
        return Convention(whole, holes=holes)
    bicubic = "downsample" in degradation.spec
    resizer = "made smaller by antialiased bicubic interpolation, equal to MATLAB's imresize" if bicubic else ""
    return Convention("gray" if channels == 1 else "luma", degradation.scale, holes, resizer)


def _similarity(a: Tensor, b: Tensor, peak: float, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Means over the windows of SSIM, and of its part that knows contrast and structure alone, (N,) float64 each."""
    n, _, height, width = a.shape
    reach = WINDOW // 2
    if min(height, width) < WINDOW:
        return (torch.full((n,), torch.nan, dtype=torch.float64),) * 2
    rows = max(1, _STRIP // width)
    total, weights = torch.zeros(2, n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    for top in range(0, height - 2 * reach, rows):
        stop = min(top + rows, height - 2 * reach) + 2 * reach
        maps = [m.mean(1) for m in _maps(a[:, :, top:stop].double(), b[:, :, top:stop].double(), peak)]
        inner = maps[0].new_ones(maps[0].shape) if mask is None else mask[:, 0, top + reach : stop - reach, reach:-reach].double().cpu()
        total += torch.stack([(m * inner).sum((1, 2)) for m in maps])
        weights += inner.sum((1, 2))
    return total[0] / weights, total[1] / weights


def _maps(a: Tensor, b: Tensor, peak: float) -> tuple[Tensor, Tensor]:
    """SSIM at every window, and its structure part, (N, C, H - 10, W - 10)."""
    a, b = a + peak / 2, b + peak / 2  # not indifferent to the origin: black is zero
    mean_a, mean_b, square_a, square_b, product = (_windows(x) for x in (a, b, a * a, b * b, a * b))
    c1, c2 = ((k * peak) ** 2 for k in STABLE)
    structure = (2 * (product - mean_a * mean_b) + c2) / (square_a - mean_a**2 + square_b - mean_b**2 + c2)
    return structure * (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1), structure


def _windows(x: Tensor) -> Tensor:
    """Weighted means over all windows."""
    place = torch.arange(WINDOW, dtype=x.dtype) - WINDOW // 2
    weight = torch.exp(-0.5 * (place / WIDTH) ** 2)
    weight = weight / weight.sum()
    flat = x.reshape(-1, 1, *x.shape[2:])
    flat = functional.conv2d(functional.conv2d(flat, weight.view(1, 1, -1, 1)), weight.view(1, 1, 1, -1))
    return flat.view(*x.shape[:2], *flat.shape[2:])


def _mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """Means (N,) of (N, 1, H, W) over the pixels that count."""
    if mask is None:
        return x.mean((1, 2, 3))
    mask = mask.double().cpu()
    return (x * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3))
