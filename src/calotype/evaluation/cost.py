"""What a model takes: parameters, training, and the time and the function evaluations of an image."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from calotype import pictures
from calotype.data.fit import fit_array
from calotype.engine.display import Say, progress
from calotype.evaluation.generator import Candidate, Pixels
from calotype.evaluation.request import LONGEST
from calotype.evaluation.result import Cost, Evaluations
from calotype.evaluation.scores import mean_over
from calotype.metrics.frechet import FD, UNBIASED, Moments, bias, frechet_estimate
from calotype.metrics.real_images import ReferenceSet
from calotype.metrics.score import Estimate
from calotype.tasks.sample import Generator

Features = NDArray[np.float32]
NFES = (5, 10, 20, 50, 100)
"""Function evaluations at which quality is measured: as many, or the next fewer that a sampler can take."""

COUNT = 400  # images at each of them
BATCH = 100


@dataclass
class NetworkUse:
    """What drawing did to the networks of a model."""

    used: set[int] = field(default_factory=set)  # identities of the parameters that took part
    calls: dict[nn.Module, int] = field(default_factory=dict)  # of each module with parameters of its own


class _Uses(TorchFunctionMode):
    """Notes which tensors functions are called with."""

    def __init__(self, parameters: Mapping[int, nn.Parameter], work: NetworkUse) -> None:
        super().__init__()
        self.parameters, self.work = parameters, work

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) or (isinstance(out, tuple) and any(isinstance(o, Tensor) for o in out)):  # else it asked for a shape
            self._note((*args, *(kwargs or {}).values()))
        return out

    def _note(self, values: Sequence[Any]) -> None:
        for value in values:
            if isinstance(value, Tensor):
                if id(value) in self.parameters:
                    self.work.used.add(id(value))
            elif isinstance(value, list | tuple):
                self._note(value)


@contextmanager
def watched(model: nn.Module) -> Iterator[NetworkUse]:
    """Note which parameters take part in what is done inside, and how often each module is called."""
    work = NetworkUse()
    hooks = []
    for module in model.modules():
        if next(module.parameters(recurse=False), None) is not None:
            work.calls[module] = 0

            def called(module: nn.Module, inputs: object, out: object) -> None:
                work.calls[module] += 1

            hooks.append(module.register_forward_hook(called))
    try:
        with _Uses({id(p): p for p in model.parameters()}, work):
            yield work
    finally:
        for hook in hooks:
            hook.remove()


def passes(work: NetworkUse) -> float | None:
    """How often images passed through the network: the number of calls of a module, the median over all parameters, of two the larger.

    A guide has as many parameters as the network that it guides and is asked less often.

    None where modules are not called at all: what a sampler does by other ways than the networks' own cannot be counted.
    """
    calls = sorted((n, sum(p.numel() for p in module.parameters(recurse=False))) for module, n in work.calls.items() if n)
    half, so_far = sum(size for _, size in calls) / 2, 0
    for n, size in calls:
        so_far += size
        if so_far > half:
            return float(n)
    return None


def of(candidate: Candidate) -> Cost | None:
    """The cost of a candidate; None of a folder of images. It draws one image."""
    generator = candidate.generator
    if generator is None:
        return None
    sizes = {id(p): p.numel() for p in generator.model.parameters()}
    work = _of_one(generator, {})
    times = passes(work)
    return Cost(
        parameters=sum(sizes.values()),
        drawing=sum(sizes[i] for i in work.used),
        passes=times if times == 1 or takes_steps(generator) else None,  # one pixel or patch after the other makes no passes
        seconds_per_1000=candidate.seconds_per_1000,
        threads=torch.get_num_threads(),
        device=generator.device.type,
        train_threads=candidate.train_threads,
        **training(candidate.records, candidate.steps),
    )


def training(records: Sequence[Mapping[str, Any]], steps: int | None) -> dict[str, Any]:
    """What the training took, by a log: steps, minutes and images a second up to step ``steps``, each None where the log does not tell."""
    lines = [r for r in records if "event" not in r and (steps is None or r["step"] <= steps)]
    last = lines[-1] if lines else {}
    seconds, seen = last.get("seconds"), last.get("images")
    return {
        "steps": last.get("step"),
        "minutes": None if seconds is None else seconds / 60,
        "images_per_second": seen / seconds if seen and seconds else None,
    }


def _of_one(generator: Generator, options: Mapping[str, Any]) -> NetworkUse:
    with watched(generator.model) as work:
        generator.sample(1, **options)
    return work


def takes_steps(generator: Generator) -> bool:
    """Whether the number of steps of a sampler can be chosen."""
    return "steps" in generator.model.sampling.names()


def curve(
    candidate: Candidate, against: ReferenceSet, seed: int, longest: float = LONGEST, say: Say | None = None
) -> tuple[Evaluations, ...]:
    """The Frechet distance at `NFES` function evaluations, always from the same noise.

    Every point judges ``COUNT`` images, so that it is worse than the score of more images by the same bias: compare points with each
    other and with their baseline. What would take longer than ``longest`` seconds altogether is left out. Empty for a model whose sampler
    takes no steps, and for features with too many dimensions for so few images.
    """
    generator = candidate.generator
    if generator is None or not takes_steps(generator) or 2 * against.spaces[0].dimension > COUNT or len(against.baseline) < COUNT:
        return ()
    two, four = (passes(_of_one(generator, {"steps": steps})) for steps in (2, 4))
    if two is None or four is None or four <= two:
        return ()
    a_step = (four - two) / 2
    rows, left = [], longest
    cost = None if candidate.seconds_per_1000 is None else candidate.seconds_per_1000 / 1000 * COUNT / (passes(_of_one(generator, {})) or 1)
    for nfe in NFES:
        steps = max(1, int((nfe - two) / a_step + 2))
        true = passes(_of_one(generator, {"steps": steps}))
        if true is None or (cost is not None and cost * true > left):
            break
        images, seconds = _drawn(generator, steps, seed, candidate.images.shape[1], say)
        left, cost = left - seconds, seconds / true
        rows.append((true, steps, seconds, _fd(against, [space.of(images).features for space in against.spaces])))
    if not rows:
        return ()
    chosen = np.sort(np.random.default_rng([seed, 19]).permutation(len(against.baseline))[:COUNT])
    baseline = _fd(against, [x.features[chosen] for x in against.baseline.features])[FD.name].value
    return tuple(
        Evaluations(nfe, steps, fd[FD.name].value, fd[FD.name].interval, fd[UNBIASED.name].value, baseline, COUNT, 1000 * seconds / COUNT)
        for nfe, steps, seconds, fd in rows
    )


def _fd(against: ReferenceSet, drawn: Sequence[Features]) -> dict[str, Estimate]:
    """The Frechet distance and what is left of it without bias, averaged over the spaces."""
    parts = []
    for x, y in zip(drawn, (reference.features for reference in against.reference.features), strict=True):
        fd = frechet_estimate(x, y)
        parts.append({FD.name: fd, UNBIASED.name: Estimate(fd.value - bias(Moments.of(x), Moments.of(y)))})
    return mean_over(parts)


def _drawn(generator: Generator, steps: int, seed: int, size: int, say: Say | None) -> tuple[Pixels, float]:
    """Images at the size to judge at, and the seconds that drawing them took."""
    parts, said, began = [], progress(say, f"drawing with {steps} steps"), time.perf_counter()
    for part in generator.batches(COUNT, {"steps": steps}, seed=seed, batch_size=BATCH):
        parts.append(pictures.to_uint8(part))
        if said is not None:
            said(sum(map(len, parts)), COUNT)
    seconds = time.perf_counter() - began
    return fit_array(np.concatenate(parts), size, None, "crop"), seconds
