"""DINOv2 ViT-S/14: a vision transformer that learned without labels (Oquab et al. 2024), for judging, not for training.

Names and shapes of the parameters are those of the published file ``dinov2_vits14_pretrain.pth``, so that it can be loaded
unchanged. The network is the vision transformer of Dosovitskiy et al. 2021 with layer scale (Touvron et al. 2021).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

PATCH = 14
SIZE = 224  # pixels a side that images are brought to: 16 x 16 patches
_MEAN = (0.485, 0.456, 0.406)  # of ImageNet, which the network was trained with
_DEVIATION = (0.229, 0.224, 0.225)
_OFFSET = 0.1  # the published way to enlarge positions adds it to the number of patches; the scale thereby differs a little from the ratio


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        parts = self.qkv(x).view(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2])
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(n, tokens, width))
        return out


class _Scale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), 1e-5))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class _Perceptron(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return out


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = _Attention(width, heads)
        self.ls1 = _Scale(width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = _Perceptron(width)
        self.ls2 = _Scale(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        out: Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return out


class _Patches(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, PATCH)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.proj(x).flatten(2).transpose(1, 2)
        return out


class DINOv2(nn.Module):
    """From pixels to the class token behind the last normalization.

    Args:
        width: numbers of a token.
        depth: blocks.
        heads: of the attention.
        places: patches a side that positions were learned for (37 in the published file, images of 518 pixels).
    """

    def __init__(self, width: int = 384, depth: int = 12, heads: int = 6, places: int = 37) -> None:
        super().__init__()
        self.width, self.places = width, places
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + places**2, width))
        self.mask_token = nn.Parameter(torch.zeros(1, width))  # in the file, but of use in its training alone
        self.patch_embed = _Patches(width)
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, width) of images (N, C, H, W) float32 in [0, 255], gray or color."""
        return self.tokens(prepared(x))[:, 0]

    def tokens(self, x: Tensor) -> Tensor:
        """(N, 1 + patches, width), the class token first, of normalized images (N, 3, 14 h, 14 w)."""
        rows, columns = x.shape[2] // PATCH, x.shape[3] // PATCH
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), self.patch_embed(x)], 1) + self.positions(rows, columns)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.norm(x)
        return out

    def positions(self, rows: int, columns: int) -> Tensor:
        """The learned positions for rows x columns patches, bicubic between the learned ones, (1, 1 + rows columns, width)."""
        if rows == columns == self.places:
            return self.pos_embed
        first, rest = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        table = rest.view(1, self.places, self.places, self.width).permute(0, 3, 1, 2)
        scale = ((rows + _OFFSET) / self.places, (columns + _OFFSET) / self.places)
        table = functional.interpolate(table, scale_factor=scale, mode="bicubic")
        if table.shape[2:] != (rows, columns):  # possible for hundreds of patches only
            raise ValueError(f"positions for {rows}x{columns} patches cannot be made")
        return torch.cat([first, table.permute(0, 2, 3, 1).reshape(1, rows * columns, self.width)], 1)


def prepared(x: Tensor) -> Tensor:
    """Images (N, C, H, W) in [0, 255] as the network wants them: 224x224 by antialiased bicubic, three channels, ImageNet's scale."""
    x = x.expand(-1, 3, -1, -1) / 255
    if x.shape[2:] != (SIZE, SIZE):
        x = functional.interpolate(x, (SIZE, SIZE), mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
    mean, deviation = (torch.tensor(v, device=x.device).view(1, 3, 1, 1) for v in (_MEAN, _DEVIATION))
    return (x - mean) / deviation
