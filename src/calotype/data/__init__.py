"""Images coming in: sources, decoding, preparing, checking, and the order in which training sees them."""

from calotype.data.check import DataCheck, Sizes, check
from calotype.data.images import Images, ImageSource, Progress, Skipped, Split
from calotype.data.load import ACCEPTED, load, prepare, suggested_size
from calotype.data.loader import Augmentation, Loader

__all__ = [
    "ACCEPTED",
    "Augmentation",
    "DataCheck",
    "ImageSource",
    "Images",
    "Loader",
    "Progress",
    "Sizes",
    "Skipped",
    "Split",
    "check",
    "load",
    "prepare",
    "suggested_size",
]
