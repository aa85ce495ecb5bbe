"""Verdicts: what went wrong with a generator, how sure that is, and what to do about it."""
