"""Invertible transforms with their log-determinants."""
