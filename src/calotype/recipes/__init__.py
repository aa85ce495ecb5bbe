"""Complete named configurations: one function a recipe, found by name in `RECIPES`. docs/recipes.md says how they compare."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Literal

from calotype.config import Config
from calotype.errors import UserError
from calotype.recipes import (
    autoregressive,
    classifier,
    coupled,
    diffusion,
    flow,
    flow_matching,
    gan,
    gan_published,
    gan_successors,
    points,
    recognition,
    restoration,
    translation,
    vae,
)

Preset = Literal["laptop", "published"]

RECIPES: dict[str, Callable[[], Config]] = {
    "flow-matching": flow_matching.flow_matching,
    "ddpm": diffusion.ddpm,
    "edm": diffusion.edm,
    "dit": diffusion.dit,
    "gan": gan.gan,
    "dcgan": gan.dcgan,
    "lsgan": gan.lsgan,
    "wgan": gan.wgan,
    "wgan-gp": gan.wgan_gp,
    "sngan": gan.sngan,
    "hinge": gan.hinge,
    "rpgan": gan.rpgan,
    "projected": gan.projected,
    "pacgan": gan_successors.pacgan,
    "resgan": gan_successors.resgan,
    "acgan": gan_successors.acgan,
    "sagan": gan_successors.sagan,
    "biggan": gan_successors.biggan,
    "progan": gan_successors.progan,
    "stylegan2": gan_successors.stylegan2,
    "r3gan": gan_successors.r3gan,
    "cogan": coupled.cogan,
    "points": points.points,
    "vae": vae.vae,
    "beta-vae": vae.beta_vae,
    "hvae": vae.hvae,
    "vqvae": vae.vqvae,
    "realnvp": flow.realnvp,
    "glow": flow.glow,
    "tarflow": flow.tarflow,
    "pixelcnn": autoregressive.pixelcnn,
    "pixel-transformer": autoregressive.pixel_transformer,
    "classifier": classifier.classifier,
    "resnet": recognition.resnet,
    "densenet": recognition.densenet,
    "transfer": recognition.transfer,
    "sgan": recognition.sgan,
    "denoise": restoration.denoise,
    "upscale": restoration.upscale,
    "deblur": restoration.deblur,
    "dejpeg": restoration.dejpeg,
    "inpaint": restoration.inpaint,
    "enhance": restoration.enhance,
    "colorize": restoration.colorize,
    "real": restoration.real,
    "cyclegan": translation.cyclegan,
    "cut": translation.cut,
    "pix2pix": translation.pix2pix,
}

PUBLISHED: dict[str, Callable[[], Config]] = {
    "gan": gan_published.gan,
    "dcgan": gan_published.dcgan,
    "lsgan": gan_published.lsgan,
    "wgan": gan_published.wgan,
    "wgan-gp": gan_published.wgan_gp,
    "sngan": gan_published.sngan,
    "hinge": gan_published.hinge,
    "projected": gan_published.projected,
    "resgan": gan_published.resgan,
    "sagan": gan_published.sagan,
    "biggan": gan_published.biggan,
    "progan": gan_published.progan,
    "stylegan2": gan_published.stylegan2,
    "r3gan": gan_published.r3gan,
    "cogan": coupled.cogan_published,
    "vae": vae.vae_published,
    "beta-vae": vae.beta_vae_published,
    "hvae": vae.hvae_published,
    "vqvae": vae.vqvae_published,
    "flow-matching": flow_matching.flow_matching_published,
    "ddpm": diffusion.ddpm_published,
    "edm": diffusion.edm_published,
    "dit": diffusion.dit_published,
    "realnvp": flow.realnvp_published,
    "glow": flow.glow_published,
    "tarflow": flow.tarflow_published,
    "pixelcnn": autoregressive.pixelcnn_published,
    "pixel-transformer": autoregressive.pixel_transformer_published,
    "resnet": recognition.resnet_published,
    "densenet": recognition.densenet_published,
    "denoise": restoration.denoise_published,
    "upscale": restoration.upscale_published,
    "deblur": restoration.deblur_published,
    "dejpeg": restoration.dejpeg_published,
    "inpaint": restoration.inpaint_published,
    "enhance": restoration.enhance_published,
    "colorize": restoration.colorize_published,
    "cyclegan": translation.cyclegan_published,
    "cut": translation.cut_published,
    "pix2pix": translation.pix2pix_published,
}
"""The configurations of the papers, for hardware like theirs: the same names, other sizes and budgets."""

ELSEWHERE = {"rpgan": "the paper of this game has it on the networks of r3gan"}
"""Why a recipe with a source in print has no published preset of its own."""

DEFAULT = "flow-matching"
"""What ``calotype train`` trains when nothing is named: the best digits after a minute on two processor cores."""


def named(name: str, preset: Preset = "laptop") -> Config:
    """The configuration of a recipe; `UserError` for a name that is none, and for a preset that it lacks."""
    if name not in RECIPES:
        near = get_close_matches(name.lower(), RECIPES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(RECIPES)}"
        raise UserError(f"unknown recipe {name!r}: {hint}")
    if preset == "laptop":
        return RECIPES[name]()
    if name not in PUBLISHED:
        why = f" ({ELSEWHERE[name]})" if name in ELSEWHERE else ""
        raise UserError(f"{name} has no published preset{why}: leave out `preset`, or choose one of {', '.join(PUBLISHED)}")
    return PUBLISHED[name]()


def about(name: str) -> str:
    """The first line of what a recipe says of itself."""
    return (RECIPES[name].__doc__ or "").strip().splitlines()[0]
