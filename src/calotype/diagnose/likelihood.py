"""What only models with latents or likelihoods can be asked."""

from __future__ import annotations

from calotype.diagnose.verdict import Finding, Verdict, cannot_tell, tail


def posterior_collapse(active: int | None, total: int = 0) -> Finding | Verdict:
    """Whether the latents carry information: units whose posterior mean varies by more than .01 over images (Burda et al. 2016).

    WARN below half of the units, FAIL below a tenth.
    """
    name = "posterior-collapse"
    if active is None:
        return cannot_tell(name, "This family has no encoder.")
    return Finding(
        name,
        effect=1 - active / max(1, total),
        warn=0.5 + 1e-9,
        fail=0.9 + 1e-9,
        says={"PASS": "The latents carry information.", "FAIL": "Most latents are unused: the decoder ignores them."},
        evidence=f"{active} of {total} latent units vary with the image",
        remedies=("a longer warm-up of the divergence term", "free bits", "a smaller weight of the divergence term"),
    )


def likelihood_overfit(gap: float | None, error: float = 0.0) -> Finding | Verdict:
    """Whether held-out images cost more bits than training images. ``gap`` is holdout minus train in bits/dim, with its standard error."""
    name = "likelihood-overfit"
    if gap is None:
        return cannot_tell(name, "This family gives no likelihood.")
    error = max(error, 1e-9)
    return Finding(
        name,
        effect=gap,
        warn=0.01,
        fail=0.05,
        p=tail(gap / error),
        error=error,
        says={
            "PASS": "No sign that held-out images cost over .01 bits per dimension more than training images.",
            "CANNOT TELL": "Too few held-out images to compare their likelihood.",
            "FAIL": "The model has learned its training images by heart.",
        },
        evidence=f"held-out images cost {gap:+.3f} bits per dimension more than training images (standard error {error:.3f})",
        remedies=("a shorter --minutes", "--optimizer.weight-decay 0.01", "more training images"),
    )
