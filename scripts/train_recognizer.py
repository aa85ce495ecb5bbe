"""Train the recognizer of digits that the package carries, ``src/calotype/metrics/weights/digits.safetensors``.

It is trained on the 10,000 MNIST test digits, which share no image with the embedded 5,000 (those come from the training
part). Put the two files ``t10k-images-idx3-ubyte.gz`` and ``t10k-labels-idx1-ubyte.gz`` into a folder by themselves:

    python scripts/train_recognizer.py --data FOLDER

9,000 digits are trained on and 1,000, each class in its share, are held out. The script refuses images that are among the
embedded ones, so that neither their training part nor their holdout was seen. Weights are stored as float16; the
accuracies are those of the stored weights. A README with them is written beside. On the same machine with the same number
of threads the same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import torch
from safetensors.torch import load, save

import calotype
from calotype.config import Config, Data
from calotype.data import Images, Split
from calotype.data import load as load_source
from calotype.data.images import digests
from calotype.engine.display import Terminal
from calotype.engine.train import train
from calotype.files import read_json, write_atomic, write_text
from calotype.metrics.features import FeatureSpace, of_classifier, recognized
from calotype.models.classifier import Classifier
from calotype.recipes import named

OUT = Path(__file__).resolve().parents[1] / "src" / "calotype" / "metrics" / "weights" / "digits.safetensors"
EPOCHS = 20.0
LARGEST = 400_000  # bytes of the file


def configuration(source: str, threads: int) -> Config:
    """The recipe of classifiers, for a fixed number of epochs."""
    config = named("classifier")
    training = replace(config.train, minutes=None, epochs=EPOCHS, threads=threads, precision="fp32", device="cpu")
    return replace(config, data=Data(source=source, holdout=0.1), train=training)


def require_fresh(split: Split, embedded: Split) -> None:
    """Stop where an image is one of the embedded ones."""
    known = {d.tobytes() for part in (embedded.train, embedded.holdout) for d in digests(part.pixels)}
    shared = sum(d.tobytes() in known for part in (split.train, split.holdout) for d in digests(part.pixels))
    if shared:
        raise SystemExit(f"{shared} of these images are among the embedded 5,000: give the 10,000 MNIST test digits")
    if (len(split.train), len(split.holdout)) != (9000, 1000) or split.train.spec != embedded.train.spec:
        raise SystemExit("these are not the 10,000 MNIST test digits: give a folder with the two t10k files and nothing else")


def space_of(weights: bytes, like: Images) -> FeatureSpace:
    """The feature space that the stored file will be."""
    config = named("classifier").model
    model = Classifier(config, like.spec)  # type: ignore[arg-type]
    model.network.load_state_dict({name: t.float() for name, t in load(weights).items()})
    return of_classifier("digits", model.eval())


def main() -> None:
    """Train on the source named on the command line and write the weights and their README."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a folder with the two files of the 10,000 MNIST test digits")
    parser.add_argument("--threads", type=int, default=1, help="of the processor; the shipped weights were made with one")
    words = parser.parse_args()
    split, embedded = load_source(words.data, holdout=0.1), load_source("mnist5k")
    require_fresh(split, embedded)
    with tempfile.TemporaryDirectory() as folder:
        train(configuration(words.data, words.threads), out=Path(folder) / "run", display=Terminal())
        tensors = load((Path(folder) / "run" / "model" / "model.safetensors").read_bytes())
        spec = read_json(Path(folder) / "run" / "model" / "config.json")["spec"]
    half = {name.removeprefix("network."): t.to(torch.float16).contiguous() for name, t in tensors.items()}
    weights = save(half)
    if len(weights) > LARGEST or tuple(spec["classes"]) != embedded.train.spec.classes:
        raise SystemExit(f"{len(weights):,} bytes with classes {spec['classes']} cannot be shipped")
    space = space_of(weights, embedded.train)
    accuracies = {
        "held_out": recognized(space, split.holdout),
        "embedded_train": recognized(space, embedded.train),
        "embedded_holdout": recognized(space, embedded.holdout),
    }
    facts = {name: f"{value:.4f}" for name, value in accuracies.items()}
    # one entry: safetensors writes several in no fixed order
    about = {"accuracy": round(accuracies["held_out"], 4), "config": asdict(named("classifier").model)}
    weights = save(half, metadata={"calotype": json.dumps(about)})
    OUT.parent.mkdir(exist_ok=True)
    write_atomic(OUT, lambda stream: stream.write(weights))
    write_text(OUT.with_name("README.md"), readme(space, weights, accuracies))
    print(f"{OUT}: {len(weights):,} bytes, {space.label}, {facts}")


def readme(space: FeatureSpace, weights: bytes, accuracy: dict[str, float]) -> str:
    """What stands beside the weights."""
    count = sum(t.numel() for t in load(weights).values())
    return f"""# digits.safetensors

The recognizer of gray 28x28 digits whose penultimate layer is the feature space `{space.label}`.

- network: `calotype.networks.recognizer.Recognizer`, {count:,} parameters, stored as float16 and used as float32
- trained on: 9,000 of the 10,000 MNIST test digits for {EPOCHS:g} epochs, moved, turned and scaled at random
- command: `python scripts/train_recognizer.py --data FOLDER`, where FOLDER holds `t10k-images-idx3-ubyte.gz` and
  `t10k-labels-idx1-ubyte.gz` ({platform.machine()}, torch {torch.__version__.split("+")[0]}, Calotype {calotype.__version__})
- accuracy on the 1,000 test digits held out: {accuracy["held_out"]:.2%}
- accuracy on the embedded 5,000, none of which it ever saw: {accuracy["embedded_train"]:.2%} of the 4,500 to train generators
  on, {accuracy["embedded_holdout"]:.2%} of the 500 held out
- SHA-256 of the file: `{hashlib.sha256(weights).hexdigest()}`

It takes no part in training or choosing generators: it is there to judge them.

The digits are from MNIST, by Yann LeCun, Corinna Cortes and Christopher J. C. Burges (Y. LeCun, L. Bottou, Y. Bengio,
P. Haffner, "Gradient-based learning applied to document recognition", Proceedings of the IEEE 86(11), 1998), made
available under the terms of the Creative Commons Attribution-Share Alike 3.0 license,
https://creativecommons.org/licenses/by-sa/3.0/. No image is stored in the weights; whoever holds that weights are a
derived work may use them under that license.
"""


if __name__ == "__main__":
    main()
