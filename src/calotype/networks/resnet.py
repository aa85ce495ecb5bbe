"""Residual networks for small images: those of He et al. 2016 (Deep residual learning for image recognition, section 4.2) and ResNet-9."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from calotype.errors import UserError
from calotype.networks.blocks import FeatureClassifier, Stem, init_scaled
from calotype.networks.norms import make_norm


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, each with batch normalization, added to what comes in, and a ReLU behind the sum.

    Where the size halves and the channels double, what comes in is subsampled and the new channels are zero (option A of the paper), which
    takes no weights.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(make_norm("batch", outputs) for _ in range(2))
        self.stride, self.more = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        hidden = F.relu(self.norms[0](self.first(x)), inplace=True)
        past = x[:, :, :: self.stride, :: self.stride] if self.stride > 1 else x
        if self.more:
            past = F.pad(past, (0, 0, 0, 0, self.more // 2, self.more - self.more // 2))
        return F.relu(self.norms[1](self.second(hidden)) + past)


class ResNet(FeatureClassifier):
    """Three stages of residual blocks, each at half the size and twice the channels of the one before, then the means of the last maps.

    With 16 channels and 20 or 56 layers, on color images of 32 pixels and ten classes, it is the paper's ResNet-20 (.27 M parameters) or
    ResNet-56 (.85 M). The blocks of `calotype.networks.residual` are those of GANs: they normalize first, halve by means and have biases.

    Args:
        channels: of the images, 1 or 3.
        classes: to tell apart.
        size: height and width of the images.
        depth: 6n + 2 layers.
        width: channels of the first stage.

    Raises:
        UserError: for another depth.
    """

    def __init__(self, channels: int, classes: int, size: int, *, depth: int = 20, width: int = 16) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise UserError(f"a residual network has 6n + 2 layers, such as 8, 14, 20 or 56, not {depth}: give another `model.depth`")
        self.dimension = 4 * width
        self.stem = Stem(channels, width, size, last=True)
        blocks: list[nn.Module] = []
        for stage in range(3):
            for i in range((depth - 2) // 6):
                halves = stage > 0 and i == 0
                blocks.append(BasicBlock(width << (stage - halves), width << stage, 2 if halves else 1))
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(self.dimension, classes)
        init_scaled(self)
        nn.init.normal_(self.head.weight, 0.0, 0.01)

    def features(self, x: Tensor) -> Tensor:
        """Means of the last maps, (N, 4 width) float32, of images (N, C, H, W) in [-1, 1]."""
        maps: Tensor = self.blocks(self.stem(x))
        return maps.float().mean((2, 3))


class PooledConvolution(nn.Module):
    """A 3x3 convolution whose map is halved by maxima of 2x2 places, then batch normalization and a ReLU.

    Page put the halving last at first; before the normalization, which it commutes with up to the sign of a gain, it saves both
    three quarters of their work.
    """

    def __init__(self, inputs: int, outputs: int, *, halves: bool = True) -> None:
        super().__init__()
        self.layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm = make_norm("batch", outputs)
        self.halves = halves

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / 2, W / 2), rounded up, or without halving."""
        hidden = self.layer(x)
        if self.halves:
            hidden = F.max_pool2d(hidden, 2, ceil_mode=True)
        return F.relu(self.norm(hidden), inplace=True)


class ResNet9(FeatureClassifier):
    """A wide and shallow residual network, which learns in few passes (Page 2018, How to train your ResNet, part 4).

    Four maps of 1, 2, 4 and 8 times ``width`` channels, each but the first at half the size of the one before, two layers past which a
    path leads behind the second and the fourth, and the maxima of the last map. With 64 channels, on color images of 32 pixels and ten
    classes, it is the author's network of 6.6 M parameters. The last layer has a bias here.

    Args:
        channels: of the images, 1 or 3.
        classes: to tell apart.
        size: height and width of the images.
        width: channels of the first map.
    """

    def __init__(self, channels: int, classes: int, size: int, *, width: int = 64) -> None:
        super().__init__()
        self.dimension = 8 * width
        self.stem = Stem(channels, width, size, last=True)
        self.halving = nn.ModuleList(PooledConvolution(width << i, width << (i + 1)) for i in range(3))
        self.past = nn.ModuleList(
            nn.Sequential(*(PooledConvolution(wide, wide, halves=False) for _ in range(2))) for wide in (2 * width, 8 * width)
        )
        self.head = nn.Linear(self.dimension, classes)
        init_scaled(self)
        nn.init.normal_(self.head.weight, 0.0, 0.01)

    def features(self, x: Tensor) -> Tensor:
        """An eighth of the maxima of the last maps, (N, 8 width) float32, of images (N, C, H, W) in [-1, 1]."""
        first = self.halving[0](self.stem(x))
        second = self.halving[1](first + self.past[0](first))
        third = self.halving[2](second)
        maps: Tensor = third + self.past[1](third)
        return maps.float().amax((2, 3)) / 8
