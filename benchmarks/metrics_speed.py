"""How fast the scores are at the size of a published protocol, beside the routes that everybody else takes.

    python benchmarks/metrics_speed.py                                   # 50,000 x 2,048 features, peers at 10,000
    python benchmarks/metrics_speed.py --count 5000 --dim 512 --peers 5000 --threads 1

*frechet*, *kid*, *prdc*   ours, from float32 features in memory to the number
*sqrtm*                    numpy's covariances and scipy's matrix square root of their product, at the full count
*prdc package*             the reference implementation of precision, recall, density and coverage, at the count of --peers, because its
                           memory grows with the square of the count; ours at the same count stands beside it

Every line is measured in a process of its own, one after the other, and shows its seconds by the clock and of processor time (summed
over the threads, and steadier on a busy machine), and its largest resident memory, features included. Features are random:
half-normal, as pooled activations are, the second set slightly scaled.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def features(count: int, dim: int) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(0)
    x, y = np.empty((count, dim), np.float32), np.empty((count, dim), np.float32)
    for z in (x, y):
        rng.standard_normal(out=z, dtype=np.float32)
        np.abs(z, out=z)
    x *= np.float32(1.02)
    return x, y


def frechet(x: Floats, y: Floats) -> float:
    from calotype.metrics.frechet import Moments, frechet

    return frechet(Moments.of(x), Moments.of(y))


def sqrtm(x: Floats, y: Floats) -> float:
    from scipy.linalg import sqrtm

    one, two = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(one + two - 2 * sqrtm(one @ two).real))


def kid(x: Floats, y: Floats) -> float:
    from calotype.metrics.kid import kid

    return kid(x, y).value


def prdc(x: Floats, y: Floats) -> float:
    from calotype.metrics.manifold import prdc

    return prdc(x, y, k_pr=5)["density"].value


def prdc_package(x: Floats, y: Floats) -> float:
    from prdc import compute_prdc

    return float(compute_prdc(real_features=y, fake_features=x, nearest_k=5)["density"])


ROUTES: dict[str, Callable[[Floats, Floats], float]] = {
    "frechet": frechet,
    "sqrtm": sqrtm,
    "kid": kid,
    "prdc": prdc,
    "prdc package": prdc_package,
}


def measure(route: str, count: int, dim: int, threads: int) -> float:
    """Run one route in a fresh process, print its line, return its seconds."""
    command = [sys.executable, __file__, "--route", route, "--count", str(count), "--dim", str(dim)]
    few = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    done = subprocess.run(command, env={**os.environ, **few}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{route} failed:\n{done.stderr[-2000:]}")
    value, seconds, busy, kibibytes = (float(number) for number in done.stdout.split()[-4:])
    size = f"{count:,d} x {dim:,d}"
    print(f"{route:13s} {size:>15s} {seconds:8.1f} s {busy:8.1f} s {kibibytes / 2**20:7.2f} GiB   {value:.6g}", flush=True)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50_000, help="images of each set")
    parser.add_argument("--dim", type=int, default=2048, help="dimensions of the features")
    parser.add_argument("--peers", type=int, default=10_000, help="images of each set where the prdc package is compared")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--route", choices=ROUTES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.route:
        x, y = features(options.count, options.dim)
        ROUTES[options.route](x[:500, :8].copy(), y[:500, :8].copy())  # imports and warms up
        start, busy = time.perf_counter(), time.process_time()
        value = ROUTES[options.route](x, y)
        seconds = time.perf_counter() - start, time.process_time() - busy
        print(value, *seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return
    size = (options.dim, options.threads)
    print(f"{options.threads} threads: seconds by the clock, of processor time, peak memory, and the number itself")
    ours, theirs = measure("frechet", options.count, *size), measure("sqrtm", options.count, *size)
    print(f"  sqrtm takes {theirs / ours:.1f} times as long as frechet")
    ours, theirs = measure("prdc", options.peers, *size), measure("prdc package", options.peers, *size)
    print(f"  the prdc package takes {theirs / ours:.1f} times as long as prdc")
    measure("kid", options.count, *size)
    measure("prdc", options.count, *size)


if __name__ == "__main__":
    main()
