"""The tasks that a prior is put to, as degradations: what was done to the picture that is to be restored."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from calotype.degrade import Degradation, Degraded, parse
from calotype.degrade.compose import Composition
from calotype.degrade.mask import Masked
from calotype.errors import UserError
from calotype.files import expanded
from calotype.tasks.batch import read_mask
from calotype.types import ImageSpec, Noise

TaskName = Literal["inpaint", "deblur", "denoise", "super-resolve", "colorize"]
Side = Literal["half", "right", "left", "lower", "upper"]

OPTIONS: dict[str, TaskName] = {"mask": "inpaint", "scale": "super-resolve", "blur": "deblur"}  # each belongs to one task
SIGMA = {"denoise": 25.0, "deblur": 2.0}  # noise of the examples that tasks are tried on, on the scale of 0 to 255


class Missing(Degradation):
    """The same pixels missing from every image.

    Args:
        mask: (1, 1, H, W), one where pixels are known.
        name: of what is missing.
    """

    conditioning = ("mask",)

    def __init__(self, mask: Tensor, name: str) -> None:
        self.mask, self.spec = mask, f"mask:{name}"

    def __call__(self, image: Tensor, noise: Noise) -> Degraded:
        """Take them away."""
        mask = self.mask.to(image).expand(len(image), -1, -1, -1)
        return Degraded(image * mask, Masked(mask), mask)


def problem(
    task: TaskName,
    spec: ImageSpec,
    *,
    sigma: float | None = None,
    scale: int | None = None,
    blur: float | None = None,
    mask: str | None = None,
    trial: bool = True,
) -> Degradation:
    """What a task is about, for images like ``spec``; with noise where ``sigma`` (0 to 255) or the task says so.

    Args:
        task: one of `TaskName`.
        spec: of the prior.
        sigma: of the noise; denoising is tried at 25 and deblurring at 2 where none is given, the others without.
        scale: of super-resolution; 2 where none is given.
        blur: of deblurring, standard deviation of a Gaussian in pixels; 1.6 where none is given.
        mask: of inpainting, the missing side ("half", the default, is the right one), or a picture that is white where pixels are missing.
        trial: whether images are to be degraded in this way; else they were already, and how noisy they are must be known.

    Raises:
        UserError: for tasks that the images do not allow, options of another task, masks that do not fit, and noise that nobody knows.
    """
    for name, value in (("mask", mask), ("scale", scale), ("blur", blur)):
        if value is not None and task != OPTIONS[name]:
            raise UserError(f"`{name}` is for `task={OPTIONS[name]}` and says nothing of {task}: leave it out")
    if task == "denoise" and sigma is None and not trial:
        raise UserError("how noisy are the pictures? Give the standard deviation of the noise with `sigma`, on the scale of 0 to 255")
    level = SIGMA.get(task, 0.0) if sigma is None else sigma
    noise = f"+noise:{level:g}" if level else ""
    if task == "inpaint":
        holes = _missing("half" if mask is None else mask, spec)
        return Composition([holes, parse(noise[1:])]) if noise else holes
    if task == "denoise":
        return parse(f"noise:{level:g}")
    if task == "deblur":
        return parse(f"blur:{1.6 if blur is None else blur:g}{noise}")
    if task == "super-resolve":
        scale = 2 if scale is None else scale
        if scale < 2 or spec.size % scale:
            raise UserError(f"images of {spec.size} pixels a side cannot be made {scale} times smaller: give another `scale`")
        return parse(f"downsample:{scale}{noise}")
    require_color(spec)
    return parse(f"gray{noise}")


def require_color(spec: ImageSpec) -> None:
    """Raise `UserError` for a prior that cannot colorize."""
    if spec.channels != 3:
        raise UserError("this prior knows no color, for it was trained on gray images: colorize with one that was trained on color images")


def _missing(mask: str, spec: ImageSpec) -> Missing:
    size = spec.size
    if mask in get_args(Side):
        known = torch.ones(1, 1, size, size)
        half = slice(size // 2, None) if mask in ("half", "right", "lower") else slice(0, size // 2)
        known[(..., half) if mask in ("half", "right", "left") else (..., half, slice(None))] = 0
        return Missing(known, mask)
    path = expanded(mask)
    if not path.is_file():
        raise UserError(f"`mask={mask}`: give {', '.join(get_args(Side))}, or a picture that is white where pixels are missing")
    missing = read_mask(path)
    if missing.shape != (size, size):
        raise UserError(f"`mask={mask}` has {missing.shape[1]}x{missing.shape[0]} pixels, and images of this prior {size}x{size}")
    if not missing.any() or missing.all():
        raise UserError(f"`mask={mask}` is {'white' if missing.all() else 'black'} all over: it is white where pixels are missing")
    return Missing(torch.from_numpy(~missing).float()[None, None], path.name)
