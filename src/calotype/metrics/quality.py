"""How close an image comes to the true one, in the conventions that published numbers are quoted in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from calotype.degrade import Degradation
from calotype.degrade.base import round8
from calotype.degrade.resize import resize
from calotype.metrics.inputs import Quality
from calotype.metrics.metric import Metric
from calotype.metrics.score import Estimate
from calotype.metrics.similarity import ms_ssim, ssim

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
    holes = "mask" in degradation.conditioning
    if degradation.scale == 1:
        return Convention(whole, holes=holes)
    bicubic = "downsample" in degradation.spec
    resizer = "made smaller by antialiased bicubic interpolation, equal to MATLAB's imresize" if bicubic else ""
    return Convention("gray" if channels == 1 else "luma", degradation.scale, holes, resizer)


def _mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """Means (N,) of (N, 1, H, W) over the pixels that count."""
    if mask is None:
        return x.mean((1, 2, 3))
    mask = mask.double().cpu()
    return (x * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3))


GAIN = Metric(
    "PSNR gain",
    "How much closer to the truth, in dB, the results are than those of the best method that needs no training.",
    "higher",
    Quality,
    lambda found: None if found.gain is None else Estimate.mean(found.gain),
)
PSNR = Metric(
    "PSNR",
    "How close the results are to the truth, in dB: 6 dB more is half the error.",
    "higher",
    Quality,
    lambda found: Estimate.mean(found.psnr),
    prose=True,
)
SSIM = Metric(
    "SSIM",
    "How alike results and truth are in brightness, contrast and structure, place by place; 1 for the same.",
    "higher",
    Quality,
    lambda found: Estimate.mean(found.ssim),
    bounds=(-1.0, 1.0),
    prose=True,
)
