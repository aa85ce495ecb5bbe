"""Mode collapse on testbeds, whose modes are known: what is missing is counted, not estimated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from calotype.diagnose.check import Check, Findings
from calotype.diagnose.modes import MODE_COLLAPSE, NAME, REMEDIES, dropped
from calotype.diagnose.remedy import LONGER, sets, trains
from calotype.diagnose.verdict import Finding, tail
from calotype.metrics.known_modes import ModeCounts
from calotype.metrics.once import Once

NAMED = 100  # modes at most whose shares are compared one by one
FEWEST = 0.25  # samples for each mode, below which nothing is said of what is missing, unless it is plain
EACH = 20  # real samples of a mode that it takes for that
OF_POINTS = (
    trains("points"),
    sets({"model.penalty": "r1_r2", "model.penalty_weight": 0.001}),
    sets({"model.discriminator.minibatch_std": True}),
    LONGER,
)


@dataclass(frozen=True)
class CountedModes(Once):
    """The samples of each known mode, beside as many real ones."""

    made: ModeCounts
    real: ModeCounts
    names: Sequence[str]  # of the modes


def mode_collapse(found: CountedModes) -> Findings:
    """Modes that no sample reaches and, where there are samples enough, those at less than half of their share."""
    return [missing(found), *_shares(found)]


def missing(found: CountedModes) -> Finding:
    """The modes that come out not even once, of those that as many real samples reach.

    FAIL from 4% of these on (one of 25), WARN from 1% (no source). The number of K equally likely modes that n samples miss has the
    variance K exp(-n/K) (1 - (1 + n/K) exp(-n/K)) (occupancy; Feller 1968, IV.2).
    """
    made, real, modes = found.made, found.real, len(found.made.counts)
    each = made.n / modes
    error = max(math.sqrt(2 * modes * math.exp(-each) * (1 - (1 + each) * math.exp(-each))) / real.hit, 1e-9)
    lost = 1 - made.hit / real.hit
    return Finding(
        NAME,
        effect=max(0.0, lost),
        warn=0.01,
        fail=0.04,
        p=tail(lost / error),
        error=error,
        blind=0.2 if each >= FEWEST else 0.0,
        says={
            "PASS": "Every mode comes out." if made.hit == modes else "No more modes are missing than among as many real samples.",
            "CANNOT TELL": "Too few samples to say which modes are missing.",
            "FAIL": f"{modes - made.hit:,} of {modes:,} modes are missing.",
        },
        evidence=f"{made.n:,} samples reach {made.hit:,} of {modes:,} modes; as many real ones reach {real.hit:,}. The frequencies of the "
        f"modes are {made.divergence:.3g} nats from equal ones (KL); of real samples {real.divergence:.3g}.",
        measure="share of the modes which as many real samples reach that is missing",
        remedies=OF_POINTS if made.astray else REMEDIES,
        data={"modes_hit": made.hit, "modes": modes},
    )


def _shares(found: CountedModes) -> Findings:
    """Modes at less than half of their share among all samples, those that belong to none included."""
    made, real = found.made, found.real
    if len(found.names) > NAMED or real.n < EACH * len(found.names):
        return []
    outside = (made.n - int(made.counts.sum()), real.n - int(real.counts.sum()))
    return [dropped(found.names, made.counts, real.counts, outside, OF_POINTS if made.astray else REMEDIES)]


KNOWN_MODES = Check(
    NAME,
    question=MODE_COLLAPSE.question,
    about=MODE_COLLAPSE.about,
    of=CountedModes,
    run=mode_collapse,
    measures="on testbeds, whose modes are known: those that no sample belongs to, of those that as many real samples reach; and, where "
    f"there are at most {NAMED} modes, those under half of their share, by an exact two-sample test",
    limits="1% / 4% of the modes missing; a mode likely / surely under half",
    remedies=(*OF_POINTS, *REMEDIES),
    shows="classes",
)
