"""The command line: parses, calls the public functions, prints."""

from calotype.cli.main import main

__all__ = ["main"]
