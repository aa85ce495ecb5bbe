"""CIE Lab (1976, white D65) as functions of tensors: lightness and two axes of color in which distances are like those people see."""

from __future__ import annotations

import torch
from torch import Tensor

# linear sRGB to CIE XYZ (IEC 61966-2-1)
_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
_LINEAR = torch.tensor(_XYZ)
_RATIOS = (_LINEAR / _LINEAR.sum(1, keepdim=True)).tolist()  # relative to white
# The inverse is taken once, on the processor, and kept as numbers: a graph that is exported has none. One that is taken on a GPU may
# differ in the last bit, and so may colors.
_BACK = torch.linalg.inv(torch.tensor(_RATIOS)).tolist()
_CUT, _SLOPE = (6 / 29) ** 3, (29 / 6) ** 2 / 3  # below _CUT the cube root becomes a line, so that black has a slope


def lab_of(rgb: Tensor) -> Tensor:
    """(N, 3, H, W) sRGB in [-1, 1] to lightness in [0, 100] and the axes a (green to red) and b (blue to yellow), about [-110, 110]."""
    coded = (rgb.float() * 0.5 + 0.5).clamp(0, 1)
    linear = torch.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055).pow(2.4))
    ratio = mixed(rgb.new_tensor(_RATIOS, dtype=torch.float32), linear)
    f = torch.where(ratio > _CUT, ratio.clamp(min=_CUT).pow(1 / 3), _SLOPE * ratio + 4 / 29)
    x, y, z = f.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def rgb_of(lab: Tensor) -> Tensor:
    """The way back, (N, 3, H, W) in [-1, 1]; beyond that range for colors that no screen has."""
    light, a, b = lab.float().unbind(1)
    y = (light + 16) / 116
    f = torch.stack([y + a / 500, y, y - b / 200], 1)
    ratio = torch.where(f > 6 / 29, f**3, (f - 4 / 29) / _SLOPE)
    linear = mixed(lab.new_tensor(_BACK, dtype=torch.float32), ratio)
    bent = 1.055 * linear.clamp(min=0.0031308).pow(1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, 12.92 * linear, bent) * 2 - 1


def mixed(matrix: Tensor, planes: Tensor) -> Tensor:
    """The planes (N, J, H, W) mixed by a matrix (I, J), (N, I, H, W); in float32 under autocast, too, where a color needs it."""
    with torch.autocast(planes.device.type, enabled=False):
        return torch.einsum("ij,njhw->nihw", matrix.float(), planes.float())
