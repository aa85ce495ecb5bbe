"""Restorers: one network by direct regression for each way in which images get degraded.

All train on patches of photographs cut into tiles, in all eight positions, and take a minute on the embedded ones.
"""

from __future__ import annotations

from dataclasses import replace

from calotype.config import Config, Data, Optimizer, Schedule, Training
from calotype.models.colorizer import ColorizerConfig
from calotype.models.restorer import RestorerConfig

PHOTOS = "photos"
SCALE = 3  # of upscale, where no other is asked for
SMALL_PATCH = 24  # pixels a side of the sources that upscale trains on


def _recipe(
    name: str, model: RestorerConfig | ColorizerConfig, degrade: str, patch: int | None, *, lr: float = 2e-3, batch: int = 8
) -> Config:
    """What all laptop presets share. Without a patch whole tiles are learned from."""
    return Config(
        recipe=name,
        model=model,
        data=Data(PHOTOS, fit="tile", rot90=True, patch=patch, degrade=degrade),
        optimizer=Optimizer("adam", lr=lr, betas=(0.9, 0.99)),
        schedule=Schedule("cosine", warmup=0.02),
        train=Training(batch=batch, minutes=1.0),
    )


def _published(laptop: Config, model: RestorerConfig | ColorizerConfig, train: Training, *, lr: float, patch: int) -> Config:
    """What all published presets share: Adam, and a learning rate that falls."""
    return replace(
        laptop,
        model=model,
        data=replace(laptop.data, patch=patch),
        optimizer=Optimizer("adam", lr=lr, betas=(0.9, 0.999)),
        schedule=Schedule("cosine"),
        train=train,
    )


def denoise() -> Config:
    """Takes Gaussian noise out of images, of a level that is told or not (after Zhang et al. 2017 and 2018)."""
    return _recipe("denoise", RestorerConfig(unshuffle=2), "noise:0-55,shared", 48)


def denoise_published() -> Config:
    """DnCNN: 17 layers with batch normalization that predict the noise (Zhang et al. 2017)."""
    model = RestorerConfig(network="dncnn", width=64, depth=17, loss="l2")
    return _published(denoise(), model, Training(batch=128, steps=150_000, ema=0.0), lr=1e-3, patch=40)


def deblur() -> Config:
    """Sharpens images that a Gaussian blurred, with a little noise on them; `blur` names another width, a range, or motion and defocus."""
    return _recipe("deblur", RestorerConfig(unshuffle=2), "blur:1.6+noise:2", 48)


def deblur_published() -> Config:
    """NAFNet of width 32: gates, simplified channel attention and layer normalization in a U (Chen et al. 2022), for motion blur."""
    model = RestorerConfig(network="naf", width=32, depth=28, levels=3)
    config = _published(deblur(), model, Training(batch=32, steps=200_000), lr=1e-3, patch=256)
    return replace(
        config, data=replace(config.data, degrade="motion:5-35", size=320), optimizer=Optimizer("adamw", lr=1e-3, betas=(0.9, 0.9))
    )


def upscale() -> Config:
    """Makes images two to eight times larger by residual blocks and pixel shuffle (after Shi et al. 2016, Lim et al. 2017)."""
    return _recipe("upscale", RestorerConfig(width=32), f"downsample:{SCALE}", SCALE * SMALL_PATCH)


def upscale_published() -> Config:
    """EDSR-baseline: 16 residual blocks of 64 channels (Lim et al. 2017)."""
    return _published(upscale(), RestorerConfig(width=64, depth=16), Training(batch=16, steps=300_000, ema=0.0), lr=1e-4, patch=SCALE * 48)


def dejpeg() -> Config:
    """Takes blocks and ringing out of JPEG images of unknown quality."""
    return _recipe("dejpeg", RestorerConfig(unshuffle=2), "jpeg:10-60", 48)


def dejpeg_published() -> Config:
    """DnCNN-3 with 20 layers (Zhang et al. 2017, section 3.4)."""
    model = RestorerConfig(network="dncnn", width=64, depth=20, loss="l2")
    return _published(dejpeg(), model, Training(batch=128, steps=150_000, ema=0.0), lr=1e-3, patch=48)


def inpaint() -> Config:
    """Fills boxes and strokes of missing pixels along lines whose ends agree, and keeps all others as they are."""
    model = RestorerConfig(network="rays", width=24, depth=2, levels=2, unshuffle=2, loss="psnr")
    return _recipe("inpaint", model, "mask:box,strokes", 96, batch=4)


def inpaint_published() -> Config:
    """A U of residual blocks with a discriminator of patches, of the size of gated convolutions' generator (Yu et al. 2019)."""
    model = RestorerConfig(width=48, depth=8, levels=3, adversarial=0.01)
    return _published(inpaint(), model, Training(batch=16, steps=500_000), lr=1e-4, patch=256)


def enhance() -> Config:
    """Brings light and contrast back by one curve for the whole picture (taught by pairs, as curves are by Guo et al. 2020)."""
    return _recipe("enhance", RestorerConfig(network="tone", width=16, depth=4, loss="psnr"), "contrast:0.4-1+dark:1-3", None)


def enhance_published() -> Config:
    """Zero-DCE's seven layers of 32 channels at full resolution (Guo et al. 2020), taught by pairs."""
    model = RestorerConfig(network="curves", width=32, depth=7)
    return _published(enhance(), model, Training(batch=8, steps=50_000), lr=1e-4, patch=176)


def colorize() -> Config:
    """Colors gray images: the likely colors of each place as classes in CIE Lab, rare ones weighing more (after Zhang et al. 2016)."""
    # with the paper's half, photographs by the hundred give garish colors; and its annealing wants beliefs of many hours
    model = ColorizerConfig(unshuffle=8, rebalance=0.25, temperature=1.0)
    config = _recipe("colorize", model, "gray", None)
    return replace(config, data=replace(config.data, rot90=False, flip=True))  # skies are above


def colorize_published() -> Config:
    """The same with a network of the size of the paper's (Zhang et al. 2016), for a large collection of photographs."""
    return _published(colorize(), ColorizerConfig(width=128, depth=8, levels=3), Training(batch=40, steps=300_000), lr=3e-5, patch=176)


def real() -> Config:
    """Restores images whose faults nobody knows: blur, resizing, noise and JPEG in two passes (after Wang et al. 2021)."""
    return _recipe("real", RestorerConfig(unshuffle=2), "real", 44)
