"""A model that draws images and tells their classes apart: judged as a generator and as a classifier, in one report."""

from __future__ import annotations

from dataclasses import dataclass, replace

from calotype.evaluation.generation import GeneratorTarget
from calotype.evaluation.recognition import RecognitionTarget
from calotype.evaluation.request import Request
from calotype.evaluation.target import EvaluationResult, Subject


@dataclass(frozen=True)
class DrawingClassifierTarget:
    """A semi-supervised GAN, or whatever else can do both."""

    generation: GeneratorTarget
    recognition: RecognitionTarget

    @property
    def subject(self) -> Subject:
        """Who it is."""
        return self.generation.subject

    def measure(self, request: Request) -> EvaluationResult:
        """Draw and score images, then ask what held-out images are taken for."""
        drawn, named = self.generation.measure(request), self.recognition.measure(request)
        pictures = replace(drawn.report.pictures, mistakes=named.report.pictures.mistakes, suspects=named.report.pictures.suspects)
        report = replace(
            drawn.report,
            scores=(*drawn.report.scores, *named.report.scores),
            protocol={**named.report.protocol, **drawn.report.protocol},
            notes=tuple(dict.fromkeys((*drawn.report.notes, *named.report.notes))),
            pictures=pictures,
            recognition=named.report.recognition,
        )
        return EvaluationResult(report, [*drawn.findings, *named.findings])
