"""Environments on the packages that a base's own Python has (``--reuse-base``)."""
