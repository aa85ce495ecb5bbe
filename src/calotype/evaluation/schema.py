"""What ``report.json`` may hold, as a JSON schema (draft 2020-12); docs/report.schema.json is its copy."""

from __future__ import annotations

import json
from typing import Any

from calotype.diagnose.verdict import RANK
from calotype.evaluation.result import SCHEMA, VERDICTS

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "number"}
_MAYBE: Schema = {"type": ["number", "null"]}
_COUNT: Schema = {"type": "integer", "minimum": 0}


def schema() -> Schema:
    """The schema of what `calotype.evaluation.result.to_json` returns."""
    parts = {
        "schema": {"const": SCHEMA, "description": "grows when a field changes its meaning"},
        "status": {
            "enum": [status for status in RANK if status != "NOT APPLICABLE"],
            "description": "the worst verdict that was asked for; CANNOT TELL where there is none",
        },
        "subject": _said(_TEXT, "the run, model or folder that was judged"),
        "about": _said(_words(), "what is known of the subject, for people"),
        "protocol": _said(_words(), "what two reports must share to be compared, besides what scores carry"),
        "versions": _words(),
        "seed": _said({"type": "integer"}, "of the evaluation"),
        "command": _said(_TEXT, "repeats the evaluation; where it was a short one, makes the full report"),
        "short": _said({"type": "boolean"}, "without the planted ladder, the extrapolation and what takes long"),
        "recipe": _said({"type": ["string", "null"]}, "its name"),
        "settings": _said(_TEXT, "equal for runs that differ in nothing but their training seed; empty where that is not known"),
        "train_seed": {"type": ["integer", "null"]},
        "notes": _said(_list(_TEXT), "warnings about the evaluation itself"),
        "scores": _list(_score()),
        "verdicts": _said(_list(_verdict()), "worst first"),
        "data": _or_null(_data()),
        "spectrum": _or_null(_object({name: _list(_MAYBE) for name in ("frequency", "low", "median", "high", "generated")})),
        "classes": _or_null(_classes()),
        "extrapolation": _or_null(_extrapolation()),
        "cost": _or_null(_cost()),
        "evaluations": _said(_list(_evaluations()), "quality against the number of function evaluations, fewest first"),
        "units": _or_null(_units()),
        "restoration": _or_null(_restoration()),
        "recognition": _said(_or_null(_recognition()), "of a classifier"),
        "cas": _said(_or_null(_cas()), "what a classifier learns from drawn images, where that was asked for"),
        "neighbors": _said(_or_null(_near()), "the first generated images and the real ones nearest to them"),
        "copies": _said(_or_null(_near()), "the generated images closest to a training image, closest first"),
        "ladder": _list(_object({"name": _TEXT, "scores": {"type": "object", "additionalProperties": _MAYBE}})),
        "curves": _or_null(_curves()),
        "next": _said(_or_null(_next()), "what to do next with a run; null for what is no run"),
    }
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "report.json of Calotype"}
    return head | _object(parts)


def text() -> str:
    """The file docs/report.schema.json."""
    return json.dumps(schema(), indent=2) + "\n"


def _score() -> Schema:
    return _object(
        {
            "name": _TEXT,
            "value": _said(_MAYBE, "null where it is not finite"),
            "interval": _said(_or_null(_pair(_NUMBER)), "95%; null where no way to compute it is known"),
            "baseline": _said(_MAYBE, "the same score of other real images"),
            "n": _said(_COUNT, "generated images; of bits/dim, held-out images"),
            "m": _said(_COUNT, "real images"),
            "features": _said(_TEXT, "the space it was computed in, as name@hash, layer, dimension; of bits/dim, the kind of likelihood"),
            "kind": _said({"enum": ["lower", "higher", "match"]}, "which values are good"),
        }
    )


def _verdict() -> Schema:
    return _object(
        {
            "name": {"enum": list(VERDICTS)},
            "status": _said({"enum": list(RANK)}, "NOT APPLICABLE where the question makes no sense for what was judged"),
            "says": _said(_TEXT, "one sentence for anybody"),
            "effect": _said(_MAYBE, "how large the trouble is, in the unit that measure names"),
            "p": _said({"type": ["number", "null"], "minimum": 0, "maximum": 1}, "corrected for the number of questions asked"),
            "detectable": _said(_MAYBE, "the smallest effect that this sample would have shown in 9 of 10 cases"),
            "evidence": _said(_TEXT, "what was measured, in numbers"),
            "remedies": _said(_list(_TEXT), "settings of Calotype that are known to help"),
            "data": {"type": ["object", "null"]},
            "measure": _said(_TEXT, "what effect is"),
            "limits": _said(_or_null(_pair(_MAYBE)), "of effect, from which on it may be a WARN and a FAIL; null where it never is"),
        }
    )


def _next() -> Schema:
    return _object(
        {
            "command": _said(_TEXT, "complete as it stands"),
            "minutes": _said(_MAYBE, "of training, on the machine of the run"),
            "shows": _said(_TEXT, "what one will know then"),
        }
    )


def _data() -> Schema:
    return _object({"name": _TEXT, "train": _COUNT, "holdout": _COUNT, "fingerprint": _TEXT, "holdout_fingerprint": _TEXT})


def _classes() -> Schema:
    share: Schema = {"type": "number", "minimum": 0, "maximum": 1}
    return _object(
        {
            "names": _list(_TEXT),
            "generated": _list(_COUNT),
            "real": _list(_COUNT),
            "interval": _said(_list(_pair(share)), "exact 95% interval of each generated share"),
            "judge": _TEXT,
        }
    )


def _extrapolation() -> Schema:
    point: Schema = {"type": "array", "prefixItems": [_COUNT, _MAYBE], "minItems": 2, "maxItems": 2}
    return _object({"points": _said(_list(point), "number of images, FD"), "infinite": _MAYBE, "slope": _MAYBE})


def _cost() -> Schema:
    maybe_count: Schema = {"type": ["integer", "null"], "minimum": 0}
    return _object(
        {
            "parameters": _COUNT,
            "drawing": _said(maybe_count, "parameters that take part in drawing"),
            "passes": _said(_MAYBE, "function evaluations for one image; null where an image is not drawn as a whole"),
            "seconds_per_1000": _said(_MAYBE, "for 1,000 images, on the machine of the report"),
            "threads": _COUNT,
            "device": _TEXT,
            "steps": _said(maybe_count, "of the training"),
            "minutes": _said(_MAYBE, "of the training"),
            "images_per_second": _said(_MAYBE, "in training"),
            "train_threads": maybe_count,
            "seconds_per_megapixel": _said(_MAYBE, "of the result, of a model that makes images from images"),
        }
    )


def _evaluations() -> Schema:
    return _object(
        {
            "nfe": _said(_NUMBER, "function evaluations for one image"),
            "steps": _said(_COUNT, "of the sampler"),
            "fd": _MAYBE,
            "interval": _said(_or_null(_pair(_NUMBER)), "95%"),
            "unbiased": _said(_MAYBE, "less what small samples add"),
            "baseline": _said(_MAYBE, "FD of as many real images"),
            "n": _said(_COUNT, "images"),
            "seconds_per_1000": _NUMBER,
        }
    )


def _units() -> Schema:
    nats = _said(_list(_MAYBE), "mean divergence of each latent unit from its prior, largest first; of many, evenly spaced ones")
    return _object({"active": _COUNT, "total": _COUNT, "nats": nats})


def _restoration() -> Schema:
    estimate = _object({"value": _MAYBE, "interval": _said(_or_null(_pair(_MAYBE)), "95%, Student's t over the images")})
    numbers: Schema = {"type": "object", "additionalProperties": _MAYBE}
    method = _object(
        {
            "name": _TEXT,
            "psnr": _said(estimate, "dB"),
            "ssim": estimate,
            "gain": _said(_or_null(estimate), "dB by which the model is better, over the pairs; null for the model itself"),
        }
    )
    return _object(
        {
            "degradation": _said(_TEXT, "how the images were degraded"),
            "convention": _said(_TEXT, "of the scores"),
            "images": _said(_list(_TEXT), "names, in the order of psnr"),
            "methods": _said(_list(method), "the model, then what needs no training, best first"),
            "psnr": _said({"type": "object", "additionalProperties": _list(_MAYBE)}, "dB of each image, by method"),
            "levels": _said(_list(_object({"sigma": _NUMBER, "psnr": numbers})), "of a denoiser for a range of noise levels"),
        }
    )


def _recognition() -> Schema:
    share: Schema = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
    span = _or_null(_pair(_NUMBER))
    one = _object(
        {
            "name": _TEXT,
            "n": _said(_COUNT, "held-out images of the class"),
            "named": _said(_COUNT, "held-out images that were taken for it"),
            "precision": share,
            "precision_interval": _said(span, "exact, 95%"),
            "recall": share,
            "recall_interval": _said(span, "exact, 95%"),
        }
    )
    image = _object({"image": _said(_TEXT, "its file, or its place in the data"), "label": _TEXT, "named": _TEXT, "probability": _NUMBER})
    bins = {name: _list(_NUMBER) for name in ("low", "high")} | {"count": _list(_COUNT)} | {n: _list(_NUMBER) for n in ("belief", "right")}
    reliability = _object({**bins, "error": _said(_NUMBER, "expected calibration error")})
    return _object(
        {
            "classes": _list(one),
            "confusion": _said(_list(_list(_COUNT)), "held-out images of each class (rows) by what they were taken for (columns)"),
            "right": _COUNT,
            "n": _said(_COUNT, "held-out images"),
            "interval": _said(_pair(_NUMBER), "of right / n, exact, 95%"),
            "train_right": {"type": ["integer", "null"], "minimum": 0},
            "train_n": _COUNT,
            "temperature": _said(_NUMBER, "that logits are divided by"),
            "own_temperature": _said({"type": "boolean"}, "whether it is of these images, each half judged at that of the other"),
            "before": _said(reliability, "beliefs without the temperature, by bins"),
            "after": _said(reliability, "with it"),
            "unlike": _said(share, "share of held-out images that are called unlike the training images"),
            "mistakes": _said(_list(image), "held-out images firmly taken for something else, the firmest first"),
            "suspects": _said(_list(image), "training images whose labels are doubtful, the most doubtful first"),
            "suspected": _COUNT,
            "checked": _said(_COUNT, "training images whose labels were checked"),
            "labels": _said({"type": ["integer", "null"], "minimum": 0}, "training images with known labels, where others' were hidden"),
            "labels_only": _said(_or_null(_compared()), "the same network trained on the labelled images alone"),
        }
    )


def _compared() -> Schema:
    share: Schema = {"type": "number", "minimum": 0, "maximum": 1}
    return _object(
        {
            "name": _said(_TEXT, "of the other judge of the same images"),
            "right": _COUNT,
            "n": _COUNT,
            "interval": _said(_pair(share), "of right / n, exact, 95%"),
            "difference": _said(_NUMBER, "accuracy of what is judged minus that of the other"),
            "difference_interval": _said(_pair(_NUMBER), "paired, 95%"),
            "p": _said(share, "McNemar's test, exact"),
        }
    )


def _cas() -> Schema:
    span = _pair(_NUMBER)
    one = _object(
        {
            "name": _TEXT,
            "n": _said(_COUNT, "held-out images of the class"),
            "generated": _said(_COUNT, "recognized by the classifier that saw generated images"),
            "generated_interval": _said(span, "of the share, exact, 95%"),
            "real": _said(_COUNT, "recognized by the one that saw real images"),
            "real_interval": span,
        }
    )
    return _object(
        {
            "right": _said(_COUNT, "held-out real images named rightly by what generated images teach"),
            "n": _COUNT,
            "interval": _said(span, "of right / n, exact, 95%"),
            "real": _said(_compared(), "the same classifier, trained equally long on as many real images"),
            "images": _said(_COUNT, "that either was trained on"),
            "steps": _said(_COUNT, "of either training"),
            "classifier": _said(_TEXT, "its recipe"),
            "classes": _list(one),
        }
    )


def _near() -> Schema:
    one = _object({"name": _said(_TEXT, "its file, or its place in the data"), "distance": _MAYBE})
    image = _said(_COUNT, "its place among all that were drawn, from 0")
    row = _object({"image": image, "train": _or_null(one), "holdout": _or_null(one)})
    return _object({"features": _said(_TEXT, "in which they are near"), "images": _list(row)})


def _curves() -> Schema:
    series = _object({"name": _TEXT, "step": _list(_COUNT), "value": _list(_MAYBE)})
    event = _object({"step": _COUNT, "says": _TEXT, "kind": _TEXT})
    return _object({"series": _list(series), "events": _list(event)})


def _object(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _pair(items: Schema) -> Schema:
    return _list(items) | {"minItems": 2, "maxItems": 2}


def _words() -> Schema:
    return {"type": "object", "additionalProperties": _TEXT}


def _or_null(part: Schema) -> Schema:
    return {"anyOf": [part, {"type": "null"}]}


def _said(part: Schema, description: str) -> Schema:
    return part | {"description": description}
