"""How long one image takes by an exported file, beside PyTorch: the ratio of medians of calls that alternate in one run.

    OMP_NUM_THREADS=1 python benchmarks/export_latency.py MODEL...

Each MODEL is a run or a model folder. Prints a line for each as a row of a Markdown table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from calotype.errors import CalotypeError
from calotype.shipping.graph import graph_of
from calotype.shipping.onnx_file import Session, onnx_of, packed
from calotype.tasks.sample import load

CALLS = 40  # at most, of each
SECONDS = 12.0  # for a model


def timed(work: Callable[[], object]) -> float:
    """Seconds of the processor: with one thread what a call takes on a quiet machine, whatever else runs on this one."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    print("| model | PyTorch, ms | ONNX file, ms | ratio |\n|---|---|---|---|")
    for place in parser.parse_args().models:
        generator = load(place, "cpu")
        try:
            graph = graph_of(generator)
            session = Session(packed(onnx_of(graph)[0], {}))
        except CalotypeError as error:
            print(f"| {place.name} | {error} | | |")
            continue
        given = graph.example(1, 0, size=(64, 64))

        def eager(module: torch.nn.Module = graph.module, given: list[torch.Tensor] = given) -> None:
            with torch.no_grad():
                module(*given)

        def exported(session: Session = session, given: list[torch.Tensor] = given) -> None:
            session(given)

        for work in (eager, exported, eager, exported):
            work()
        took: dict[str, list[float]] = {"eager": [], "exported": []}
        start = time.perf_counter()
        while len(took["eager"]) < 5 or (len(took["eager"]) < CALLS and time.perf_counter() - start < SECONDS):
            took["eager"].append(timed(eager))
            took["exported"].append(timed(exported))
        slow, fast = (1000 * median(times) for times in took.values())
        print(f"| {place.name} ({generator.recipe}) | {slow:.2f} | {fast:.2f} | {fast / slow:.2f} |", flush=True)


if __name__ == "__main__":
    main()
