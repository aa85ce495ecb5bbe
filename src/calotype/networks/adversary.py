"""What a GAN may ask of its two networks, and what they answer where they have nothing to say."""

from __future__ import annotations

from torch import Tensor, nn


class LatentGenerator(nn.Module):
    """Latents (N, latent), and labels (N,) or None, to images (N, C, H, W) in [-1, 1].

    Built as ``Network(shape, latent=, classes=, **settings)``.
    """

    has_styles: bool = False  # whether latents become `styles` first, of which ``forward`` takes a ``truncation``
    changes_at: tuple[float, ...] = ()  # the shares of a run after which its steps take another time than before
    joins_at: tuple[float, ...] = ()  # the shares of a run after which layers take part that did not before

    def reach(self, progress: float) -> None:
        """Become what the network is at this share of a run, where it changes with it."""

    def styles(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        """What latents and labels become first, (N, layers, styles), where the network ``has_styles``."""
        raise NotImplementedError

    def of_styles(self, styles: Tensor) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] of styles (N, layers, styles), or of those that all layers share, (N, styles)."""
        raise NotImplementedError


class ImageDiscriminator(nn.Module):
    """Images (N, C, H, W), and labels (N,) or None, to logits (N,), or (N, K) of K parts of each image.

    Built as ``Network(shape, classes=, **settings)``.
    """

    mixes_batch: bool = False  # whether images of a batch meet in it
    through: tuple[str, ...] = ()  # feature networks that it looks through, as `calotype.types.Model` has them
    changes_at: tuple[float, ...] = ()  # the shares of a run after which its steps take another time than before
    joins_at: tuple[float, ...] = ()  # the shares of a run after which layers take part that did not before

    def early(self) -> list[list[nn.Module]]:
        """Its blocks from the image on, each as the modules that it is made of, without the head; none where it is not made of blocks."""
        return []

    def named_layers(self) -> dict[str, nn.Module]:
        """Its layers that a probe may look at, by name, from the image on: each maps (N, C, h, w) or vectors (N, d); none by itself."""
        return {f"block {number}": block[-1] for number, block in enumerate(self.early(), 1)}

    def ready(self) -> None:
        """Find what it needs before anything is trained.

        Raises:
            UserError: where it is not there.
        """

    def reach(self, progress: float) -> None:
        """Become what the network is at this share of a run, where it changes with it."""

    @property
    def coarseness(self) -> float:
        """Pixels a side of what it is shown that count as one, where it sees less than it is shown."""
        return 1.0

    def faded(self, image: Tensor) -> Tensor:
        """Real images (N, C, H, W) as generated ones can be by now: without what these cannot show yet."""
        return image

    def judge_and_classify(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Of images (N, C, H, W) the logits (N,) and those of their classes (N, classes), where the network tells classes apart.

        Raises:
            ValueError: where it does not.
        """
        raise ValueError("only a discriminator with an auxiliary head and classes tells classes apart")

    def look(self, images: Tensor) -> Tensor:
        """What of images (N, C, H, W) it judges: they themselves, or fixed features of them, which need to be computed once only."""
        return images
