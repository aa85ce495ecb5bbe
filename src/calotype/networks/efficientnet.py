"""EfficientNet-Lite (Tan & Le 2019; the Lite variants of 2020): a small classifier of photographs, for features, not for training.

Inverted residuals with depthwise convolutions (Sandler et al. 2018), scaled in depth. The Lite variants leave squeeze and excitation out,
bound activations by ReLU6, and scale neither the stem nor the head nor the repeats of the first and the last stage. As in TensorFlow,
padding is added at the far side first, so that a stride of 2 looks at even places.

The network stands as it computes: each batch normalization is folded into the convolution in front of it (`folded`), which gives the
same function in a third less time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

SIZE = 224  # pixels a side that Lite0 was trained with
CLASSES = 1000
FEATURES = 1280  # channels of the head
STEM = 32
EPSILON = 1e-3  # of the normalization in published files
# repeats, kernel, stride of the first, expansion, channels of each stage (Tan & Le 2019, table 1)
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))


class _Convolution(nn.Module):
    """A convolution with bias that pads as TensorFlow's ``SAME`` does."""

    def __init__(self, a: int, b: int, kernel: int = 1, stride: int = 1, *, depthwise: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(b, 1 if depthwise else a, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(b))
        self.kernel, self.stride, self.groups = kernel, stride, a if depthwise else 1

    def forward(self, x: Tensor) -> Tensor:
        """(N, a, H, W) -> (N, b, ceil(H / stride), ceil(W / stride))."""
        lack = [max(0, (math.ceil(side / self.stride) - 1) * self.stride + self.kernel - side) for side in x.shape[2:]]
        # an odd lack is one more at the far side: the same as a kernel that begins with a zero and equal padding, which no copy needs
        odd = [side % 2 for side in lack]
        weight = functional.pad(self.weight, (odd[1], 0, odd[0], 0)) if any(odd) else self.weight
        return functional.conv2d(x, weight, self.bias, self.stride, [-(-side // 2) for side in lack], groups=self.groups)


class _Block(nn.Module):
    """An inverted residual: expand, look around each channel by itself, project; around it the identity where the shapes allow."""

    def __init__(self, a: int, b: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = a * expansion
        self.expand = _Convolution(a, inner) if expansion > 1 else None
        self.depthwise = _Convolution(inner, inner, kernel, stride, depthwise=True)
        self.project = _Convolution(inner, b)
        self.identity = stride == 1 and a == b

    def forward(self, x: Tensor) -> Tensor:
        """(N, a, H, W) -> (N, b, H / stride, W / stride)."""
        hidden = x if self.expand is None else functional.relu6(self.expand(x), inplace=True)
        out: Tensor = self.project(functional.relu6(self.depthwise(hidden), inplace=True))
        return x + out if self.identity else out


class EfficientNetLite(nn.Module):
    """From photographs to the maps of every stage, the means of the head and the logits of ImageNet's classes.

    Args:
        depth: Factor of the repeats of the inner stages: 1 for Lite0, 1.1 for Lite1.
    """

    def __init__(self, depth: float = 1.0) -> None:
        super().__init__()
        self.stem = _Convolution(3, STEM, 3, 2)
        inner = [(math.ceil(depth * repeats), *rest) for repeats, *rest in STAGES[1:-1]]
        stages = [STAGES[0], *inner, STAGES[-1]]
        widths = [STEM, *(stage[-1] for stage in stages)]
        self.stages = nn.ModuleList(
            nn.Sequential(*(_Block(a if i == 0 else b, b, kernel, stride if i == 0 else 1, expansion) for i in range(repeats)))
            for (repeats, kernel, stride, expansion, _), (a, b) in zip(stages, pairwise(widths), strict=True)
        )
        self.head = _Convolution(widths[-1], FEATURES)
        self.classify = nn.Linear(FEATURES, CLASSES)

    def maps(self, x: Tensor, stages: int = len(STAGES)) -> list[Tensor]:
        """What each of the first ``stages`` makes of normalized images (N, 3, H, W): (N, c, H / s, W / s) of 16 to 320 channels."""
        x = functional.relu6(self.stem(x), inplace=True)
        found = []
        for stage in self.stages[:stages]:
            x = stage(x)
            found.append(x)
        return found

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, 1280), the means of the head, and logits (N, 1000) of normalized images (N, 3, H, W)."""
        features = functional.relu6(self.head(self.maps(x)[-1]), inplace=True).mean((2, 3))
        return features, self.classify(features)


def prepared(x: Tensor, size: int = SIZE) -> Tensor:
    """Images (N, C, H, W) in [0, 255], gray or color, as the network wants them: (x - 127) / 128, ``size`` pixels a side (bicubic)."""
    x = x.expand(-1, 3, -1, -1)
    if x.shape[2:] != (size, size):
        x = functional.interpolate(x, (size, size), mode="bicubic", align_corners=False, antialias=True).clamp(0, 255)
    return (x - 127) / 128


def folded(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of an `EfficientNetLite` made of a published one, whose convolutions are followed by batch normalization.

    Published names: ``_conv_stem`` and ``_bn0``, ``_blocks.3._expand_conv`` and ``_bn0``, ``_depthwise_conv`` and ``_bn1``,
    ``_project_conv`` and ``_bn2``, ``_conv_head`` and ``_bn1``, ``_fc``; blocks are counted through all stages.

    Raises:
        KeyError: for a name that is not there.
    """
    blocks = 1 + max(int(name.split(".")[1]) for name in published if name.startswith("_blocks."))
    depth = 1.1 if blocks > sum(stage[0] for stage in STAGES) else 1.0
    inner = [math.ceil(depth * stage[0]) for stage in STAGES[1:-1]]
    places = [f"stages.{stage}.{i}" for stage, repeats in enumerate((1, *inner, 1)) for i in range(repeats)]
    pairs = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    for number, place in enumerate(places):
        if number:
            pairs[f"{place}.expand"] = (f"_blocks.{number}._expand_conv", f"_blocks.{number}._bn0")
        pairs[f"{place}.depthwise"] = (f"_blocks.{number}._depthwise_conv", f"_blocks.{number}._bn1")
        pairs[f"{place}.project"] = (f"_blocks.{number}._project_conv", f"_blocks.{number}._bn2")
    state = {f"classify.{part}": published[f"_fc.{part}"].float() for part in ("weight", "bias")}
    for own, (convolution, norm) in pairs.items():
        weight, scale, shift, mean, variance = (
            published[name].double()
            for name in (f"{convolution}.weight", *(f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var")))
        )
        factor = scale / (variance + EPSILON).sqrt()
        state[f"{own}.weight"] = (weight * factor[:, None, None, None]).float()
        state[f"{own}.bias"] = (shift - mean * factor).float()
    return state
