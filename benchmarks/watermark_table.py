"""What the watermark of `calotype sample --watermark` stands, and how often it is found where it is not.

    python benchmarks/watermark_table.py digits=runs/digits photos=runs/photos --out benchmarks/results/watermark.md
    python benchmarks/watermark_table.py digits=runs/digits photos=runs/photos --ways --out benchmarks/results/watermark-ways.md

Each MODEL is a name and a run (or a model/ folder) whose images have the size of its training data; its real images are the held-out ones.
Images are drawn with a key, brought to 8 bits and damaged; each is then read by itself, with the model and the key alone.

    found           the share of damaged images whose p-value is at most 0.001, with its 95% interval, and the median of the p-values
    false positives the same of images without the watermark: unmarked samples, real images, and marked samples read with other keys
    averages        Tree-Ring's removal (Yang et al. 2024, "Can simple averaging defeat modern watermarks?"): the mean of many marked images
                    less that of as many unmarked ones is subtracted from each, and for forging added to unmarked ones; beside it what the
                    mean of other unmarked ones does, which knows nothing of a watermark
    copied noise    forging with the model: the noise that is found in a marked image, at its size, is drawn from once more
    --ways          ways back to the noise, on unmarked samples: how many standard deviations the sum of the weights of signs that are read
                    rightly lies above that of chance, mean and least of --damaged images; with 16 bits of nonce 5.5 are needed
    FD              between marked and unmarked samples, bias removed, and of each from the real images (digits only)
"""

from __future__ import annotations

import argparse
import hashlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter

import calotype
from calotype import pictures
from calotype.diffusion.inversion import starting_noise
from calotype.engine.run import Run
from calotype.files import write_text
from calotype.metrics.features import pick
from calotype.metrics.frechet import Moments, bias, frechet_estimate
from calotype.metrics.manifold import wilson
from calotype.models.diffusion import Diffusion
from calotype.provenance.detection import ALPHA, MOST, best_matches, tail, whole_weights
from calotype.provenance.watermark import WatermarkKey
from calotype.tasks.model_inputs import to_tensor
from calotype.tasks.sample import Generator
from calotype.tasks.watermark import noise_of
from calotype.types import Noise

Pixels = NDArray[np.uint8]
Damage = Callable[[Pixels], Pixels]
Row = tuple[str, str, str]
BITS = (0, 8, 12, 16, 20)  # of the nonce


def key(number: int) -> WatermarkKey:
    """A key of this benchmark, which anybody can have."""
    return WatermarkKey(hashlib.sha256(f"watermark_table {number}".encode()).digest())


def each(change: Callable[[Image.Image], Image.Image]) -> Damage:
    """The change of a picture, done to each of the images (N, H, W, C)."""
    return lambda images: np.stack([np.asarray(change(pictures.to_picture(one))).reshape(one.shape) for one in images])


def saved(form: str, quality: int) -> Damage:
    """Written with losses and read again."""

    def change(image: Image.Image) -> Image.Image:
        stream = io.BytesIO()
        image.save(stream, form, quality=quality)
        return Image.open(stream).convert(image.mode)

    return each(change)


def resized(share: float) -> Damage:
    """To another size and back, by Lanczos' filter."""
    way = Image.Resampling.LANCZOS
    return each(lambda image: image.resize((round(image.width * share), round(image.height * share)), way).resize(image.size, way))


def cropped(pixels: int) -> Damage:
    """Cut on all sides, and enlarged to the size it had."""

    def change(image: Image.Image) -> Image.Image:
        return image.crop((pixels, pixels, image.width - pixels, image.height - pixels)).resize(image.size, Image.Resampling.LANCZOS)

    return each(change)


def noisy(sigma: float) -> Damage:
    """With normal noise of a standard deviation, in levels of 255."""

    def change(images: Pixels) -> Pixels:
        noise = np.random.default_rng(0).normal(0, sigma, images.shape)
        return np.clip(np.rint(images + noise), 0, 255).astype(np.uint8)

    return change


def covered(share: float) -> Damage:
    """With a gray square that covers a share of it."""

    def change(images: Pixels) -> Pixels:
        side, out = round(images.shape[1] * share**0.5), images.copy()
        out[:, :side, :side] = 128
        return out

    return change


DAMAGES: dict[str, Damage] = {
    "none: PNG of 8 bits": lambda images: images,
    "JPEG, quality 95": saved("JPEG", 95),
    "JPEG, quality 90": saved("JPEG", 90),
    "JPEG, quality 75": saved("JPEG", 75),
    "JPEG, quality 50": saved("JPEG", 50),
    "WebP, quality 90": saved("WEBP", 90),
    "resized to 200% and back": resized(2),
    "resized to 75% and back": resized(0.75),
    "resized to 50% and back": resized(0.5),
    "a quarter covered": covered(0.25),
    "1 pixel cut off each side, enlarged": cropped(1),
    "noise of 1 level of 255": noisy(1),
    "noise of 2 levels": noisy(2),
    "noise of 5 levels": noisy(5),
    "noise of 10 levels": noisy(10),
    "blur of 0.3 pixels": each(lambda image: image.filter(ImageFilter.GaussianBlur(0.3))),
    "blur of 0.5 pixels": each(lambda image: image.filter(ImageFilter.GaussianBlur(0.5))),
    "blur of 1 pixel": each(lambda image: image.filter(ImageFilter.GaussianBlur(1))),
    "shifted by 1 pixel": lambda images: np.roll(images, 1, 2),
    "32 levels of gray or color": lambda images: (images // 8 * 8 + 4).astype(np.uint8),
}


def row(what: str, p: NDArray[np.float64]) -> Row:
    """How often a watermark was found."""
    hits = int((p <= ALPHA).sum())
    low, high = wilson(hits, len(p))
    return what, f"{hits / len(p):.4f} ({low:.4f} to {high:.4f}) of {len(p):,}", f"{np.median(p):.1e}"


def p_values(noise: NDArray[np.float32], keys: Sequence[WatermarkKey]) -> NDArray[np.float64]:
    return np.array([match.p for one in keys for match in best_matches(noise, one)])


def by_nonces(noise: NDArray[np.float32], seed: int) -> NDArray[np.float64]:
    """The share of marked images (number 0 on) that would be found, were there 2 to the power of `BITS` patterns, (len(BITS),)."""
    shares = np.zeros(len(BITS))
    for number, (weights, one) in enumerate(zip(whole_weights(noise), noise, strict=True)):
        agrees = (one < 0) == (key(0).signs(key(0).nonce(seed, number), len(one)) < 0)
        p = tail(np.bincount(weights, minlength=MOST + 1), int(weights[agrees].sum()))
        shares += [-np.expm1(2**bits * np.log1p(-p)) <= ALPHA if p < 1 else False for bits in BITS]
    return shares / len(noise)


def drawn(model: Generator, count: int, seed: int, watermark: WatermarkKey | None = None) -> Pixels:
    return np.concatenate([pictures.to_uint8(part) for part in model.batches(count, {}, seed=seed, watermark=watermark)])


def moved(images: Pixels, towards: Pixels, away: Pixels) -> Pixels:
    """Images with the mean of some images added and that of others taken away."""
    pattern = towards.astype(np.float64).mean(0) - away.astype(np.float64).mean(0)
    changed: Pixels = np.clip(np.rint(images + pattern), 0, 255).astype(np.uint8)
    return changed


def copied(model: Generator, noise: NDArray[np.float32]) -> Pixels:
    """New images from the noise that was found in marked ones."""

    class Found(Noise):
        def starting(self, *shape: int) -> torch.Tensor:
            plain, found = self.normal(*shape), torch.from_numpy(noise).view(-1, *shape)
            return plain.abs() * torch.where(found < 0, -1.0, 1.0)

    with torch.no_grad():
        images: torch.Tensor = model.model.sample(Found(len(noise), 99))
    return pictures.to_uint8(images)


def measured(name: str, place: Path, options: argparse.Namespace) -> str:
    """All tables of one model."""
    model, own = calotype.load(place), key(0)
    config, _ = Run(place).read_config()
    split = calotype.data.load(config.data.source, size=config.data.size, holdout=max(config.data.holdout, 0.1))
    real = np.asarray(split.holdout.pixels[: options.count])
    marked, plain = drawn(model, options.count, 0, own), drawn(model, options.count, 0)
    noise = {what: noise_of(model, images) for what, images in (("marked", marked), ("plain", plain), ("real", real))}
    agreeing = np.array([match.agreeing for match in best_matches(noise["marked"], own)])
    rows = [row(next(iter(DAMAGES)), p_values(noise["marked"], [own]))]
    print(name, rows[-1], flush=True)
    bits = [(next(iter(DAMAGES)), by_nonces(noise["marked"], 0))]
    for what, damage in list(DAMAGES.items())[1:]:
        found = noise_of(model, damage(marked[: options.damaged]))
        rows.append(row(what, p_values(found, [own])))
        bits.append((what, by_nonces(found, 0)))
        print(name, rows[-1], bits[-1][1], flush=True)
    plain_too, some = drawn(model, options.count, 1), slice(options.damaged)
    for what, away in ((f"the mean of {options.count:,} marked images taken away", marked), ("that of as many unmarked ones", plain_too)):
        rows.append(row(what, p_values(noise_of(model, moved(marked[some], plain, away)), [own])))
    others = [key(number) for number in range(1, options.keys + 1)]
    false = [
        row("unmarked samples", p_values(noise["plain"], others)),
        row("real images", p_values(noise["real"], others)),
        row("marked samples, read with other keys", p_values(noise["marked"], others)),
    ]
    print(name, *false, flush=True)
    forged = moved(plain_too[some], marked, plain)
    forging = [row(f"unmarked, the mean of {options.count:,} marked images added", p_values(noise_of(model, forged), [own]))]
    again = copied(model, noise["marked"][: options.damaged])
    forging.append(row("copied noise, drawn from once more by who has the model", p_values(noise_of(model, again), [own])))
    print(name, *forging, flush=True)
    shape = f"{model.spec.size}x{model.spec.size}x{model.spec.channels}"
    signs = f"{100 * agreeing.mean():.1f}% (least {100 * agreeing.min():.1f}%) of the {noise['marked'].shape[1]:,} signs"
    head = [f"## {name}: {model.recipe}, {shape}", f"Of a marked image {signs} are read rightly."]
    if model.spec.size == 28 and model.spec.channels == 1:
        head.append(distances(model, real_of(split), options))
    lines = ["| found, by bits of the nonce | " + " | ".join(map(str, BITS)) + " |", "|---|" + "---|" * len(BITS)]
    lines += [f"| {what} | " + " | ".join(f"{share:.2f}" for share in shares) + " |" for what, shares in bits]
    tables = [table("damage", rows), table("without the watermark", false), table("forging", forging), "\n".join(lines)]
    return "\n\n".join([*head, *tables])


def ways(name: str, place: Path, options: argparse.Namespace) -> str:
    """How well the noise of samples is found, by several ways."""
    model = calotype.load(place)
    denoiser = model.model
    assert isinstance(denoiser, Diffusion)
    config, spec = denoiser.config, model.spec
    truth = Noise(options.damaged, 0).starting(*spec.shape).flatten(1).numpy()
    images = drawn(model, options.damaged, 0)
    levels, guidance = denoiser.timesteps(config.steps), config.guidance

    def back(corrections: int, scale: float = 1.0) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda x: starting_noise(denoiser.denoiser(None, scale), x, levels, corrections)

    tried = {f"the sampler's {config.steps} steps, last step corrected {count} times": back(count) for count in (0, 1, 2, 4)}
    tried[f"corrected once, guidance {guidance:g}"] = back(1, guidance)
    tried["80 evaluations from next to the image (`encode`)"] = denoiser.encode
    names = ("none: PNG of 8 bits", "JPEG, quality 95", "JPEG, quality 75", "noise of 5 levels")
    lines = [f"| {name} | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for what, way in tried.items():
        cells = []
        for damage in names:
            with torch.no_grad():
                found = way(to_tensor(DAMAGES[damage](images))).flatten(1).numpy()
            weights = whole_weights(found)
            sums = (weights * np.sign(found) * np.sign(truth)).sum(1) / np.sqrt(np.square(weights).sum(1))
            cells.append(f"{sums.mean():.1f} ({sums.min():.1f})")
        lines.append(f"| {what} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def real_of(split: calotype.data.Split) -> Pixels:
    return np.asarray(split.train.pixels)


def distances(model: Generator, real: Pixels, options: argparse.Namespace) -> str:
    """FD of marked and unmarked samples."""
    (space,) = pick("digits", model.spec)
    sets = {
        "marked": drawn(model, options.fd, 1, key(0)),
        "unmarked": drawn(model, options.fd, 2),
        "unmarked, other seed": drawn(model, options.fd, 3),
        "real": real[: options.fd],
    }
    features = {what: space.of(images).features for what, images in sets.items()}
    lines = ["| FD, digits features, bias removed | value | 95% interval |", "|---|---|---|"]
    for one, other in (
        ("marked", "real"),
        ("unmarked", "real"),
        ("unmarked, other seed", "real"),
        ("marked", "unmarked"),
        ("unmarked, other seed", "unmarked"),
    ):
        found = frechet_estimate(features[one], features[other])
        extra = bias(Moments.of(features[one]), Moments.of(features[other]))
        assert found.interval is not None
        low, high = (end - extra for end in found.interval)
        lines.append(f"| {one} from {other} | {found.value - extra:.2f} | {low:.2f} to {high:.2f} |")
        print(lines[-1], flush=True)
    return "\n".join([*lines, f"\n{options.fd:,} images of each."])


def table(what: str, rows: list[Row]) -> str:
    lines = [f"| {what} | found at 0.001 | median p |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {share} | {p} |" for name, share, p in rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="NAME=MODEL")
    parser.add_argument("--count", type=int, default=500, help="marked, unmarked and real images")
    parser.add_argument("--damaged", type=int, default=100, help="of them, for each damage")
    parser.add_argument("--keys", type=int, default=20, help="other keys, for false positives")
    parser.add_argument("--fd", type=int, default=2000, help="images for FD")
    parser.add_argument("--ways", action="store_true", help="compare ways back to the noise")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/watermark.md"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    places = dict(word.split("=", 1) for word in options.models)
    command = f"    python benchmarks/watermark_table.py {' '.join(f'{name}=MODEL' for name in places)}{' --ways' * options.ways}"
    command += f" --count {options.count} --damaged {options.damaged} --keys {options.keys} --fd {options.fd}"
    found = [(ways if options.ways else measured)(name, Path(place), options) for name, place in places.items()]
    write_text(options.out, "\n\n".join(["# The watermark", command, *found]) + "\n")


if __name__ == "__main__":
    main()
