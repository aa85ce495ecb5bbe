"""Telling generated images from real ones: `train` makes a detector, `load` opens one, `score` asks it.

>>> from calotype import detect
>>> sorted(detect.__all__)
['Detector', 'Judgement', 'load', 'score', 'train']
"""

from calotype.detect.detector import Detector, load
from calotype.detect.score import Judgement, score
from calotype.detect.train import train

__all__ = ["Detector", "Judgement", "load", "score", "train"]
