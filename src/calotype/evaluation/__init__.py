"""Measures a trained model: what is judged, the real images beside it, scores, checks, and the result as plain data."""
