"""Architectures, free of any loss."""
