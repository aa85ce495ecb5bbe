"""Scores as functions of arrays: features, probabilities and pixels in, numbers with their uncertainty out."""
