"""Conda and pip environments as one SquashFS file with transparent shims."""

__version__ = "0.1.0"
