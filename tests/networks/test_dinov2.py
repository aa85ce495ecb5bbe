"""The vision transformer of DINOv2, checked without its weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from calotype.networks.dinov2 import PATCH, SIZE, DINOv2, prepared


@pytest.fixture
def small() -> DINOv2:
    torch.manual_seed(0)
    network = DINOv2(width=24, depth=2, heads=3, places=5).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.2)
    return network


def test_count_names_and_shapes_are_those_of_the_published_file() -> None:
    network = DINOv2()
    assert sum(p.numel() for p in network.parameters()) == 22_056_576
    shapes = {name: tuple(t.shape) for name, t in network.state_dict().items()}
    assert len(shapes) == 175
    assert shapes["cls_token"] == (1, 1, 384)
    assert shapes["pos_embed"] == (1, 1 + 37 * 37, 384)
    assert shapes["mask_token"] == (1, 384)
    assert shapes["patch_embed.proj.weight"] == (384, 3, 14, 14)
    assert shapes["blocks.11.attn.qkv.weight"] == (1152, 384)
    assert shapes["blocks.0.ls1.gamma"] == (384,)
    assert shapes["blocks.3.mlp.fc2.weight"] == (384, 1536)
    assert shapes["norm.bias"] == (384,)


def test_a_block_is_torchs_own_transformer_layer(small: DINOv2) -> None:
    block = small.blocks[0]
    layer = torch.nn.TransformerEncoderLayer(24, 3, 96, 0.0, "gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True).eval()
    parts = block.state_dict()
    # layer scale is a factor of the last linear map of each half
    first, second = parts["ls1.gamma"], parts["ls2.gamma"]
    layer.load_state_dict(
        {
            "self_attn.in_proj_weight": parts["attn.qkv.weight"],
            "self_attn.in_proj_bias": parts["attn.qkv.bias"],
            "self_attn.out_proj.weight": parts["attn.proj.weight"] * first[:, None],
            "self_attn.out_proj.bias": parts["attn.proj.bias"] * first,
            "linear1.weight": parts["mlp.fc1.weight"],
            "linear1.bias": parts["mlp.fc1.bias"],
            "linear2.weight": parts["mlp.fc2.weight"] * second[:, None],
            "linear2.bias": parts["mlp.fc2.bias"] * second,
            **{f"{norm}.{part}": parts[f"{norm}.{part}"] for norm in ("norm1", "norm2") for part in ("weight", "bias")},
        }
    )
    x = torch.randn(2, 7, 24)
    with torch.no_grad():
        assert torch.allclose(block(x), layer(x), atol=1e-5)


def test_positions_are_the_learned_ones_at_their_own_size_and_follow_a_ramp_at_another(small: DINOv2) -> None:
    assert torch.equal(small.positions(5, 5), small.pos_embed)
    ramp = torch.arange(5.0).repeat_interleave(5)  # grows with the row
    small.pos_embed[0, 1:, 0] = ramp
    small.pos_embed[0, 1:, 1] = 3.0
    for rows, columns in ((10, 10), (3, 7)):
        table = small.positions(rows, columns)
        assert torch.equal(table[:, 0], small.pos_embed[:, 0])
        grid = table[0, 1:, :2].view(rows, columns, 2)
        assert torch.allclose(grid[..., 1], torch.full((rows, columns), 3.0), atol=1e-5)  # bicubic weights sum to 1
        assert bool((grid[1:, :, 0] > grid[:-1, :, 0]).all())
        assert torch.allclose(grid[:, 0, 0], grid[:, -1, 0], atol=1e-5)


def test_features_depend_on_where_patches_are_and_on_nothing_else_of_the_batch(small: DINOv2) -> None:
    x = torch.randn(2, 3, 3 * PATCH, 3 * PATCH)
    swapped = x.roll(PATCH, 3)
    alone, moved = small.tokens(x)[:, 0], small.tokens(swapped)[:, 0]
    assert torch.allclose(small.tokens(x[:1])[:, 0], alone[:1], atol=1e-5)
    assert not torch.allclose(alone, moved, atol=1e-3)
    small.pos_embed[:, 1:] = 0.0
    assert torch.allclose(small.tokens(x)[:, 0], small.tokens(swapped)[:, 0], atol=1e-5)  # without positions a set of patches


def test_the_features_are_the_class_token(small: DINOv2) -> None:
    x = torch.rand(2, 1, 28, 28) * 255
    tokens = small.tokens(prepared(x))
    assert tokens.shape == (2, 1 + 16 * 16, 24)
    assert torch.equal(small(x), tokens[:, 0])


def test_images_are_brought_to_imagenets_scale() -> None:
    white = prepared(torch.full((1, 1, 28, 28), 255.0))
    assert white.shape == (1, 3, SIZE, SIZE)
    want = torch.tensor([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])
    assert torch.allclose(white[0, :, 100, 100], want, atol=1e-5)
    sharp = torch.zeros(1, 3, SIZE, SIZE)
    sharp[..., ::2] = 255.0
    assert float(prepared(sharp).std()) > 1  # an image of the right size is not resampled


@pytest.mark.parametrize("size", [32, 300])
def test_images_are_resized_as_pillow_does(size: int) -> None:
    image = np.random.default_rng(0).uniform(60, 200, (size, size)).astype(np.float32)
    want = np.asarray(Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BICUBIC)) / 255
    ours = prepared(torch.from_numpy(image)[None, None])[0, 0].numpy() * 0.229 + 0.485
    assert np.abs(ours - want.clip(0, 1)).max() < 1e-4
