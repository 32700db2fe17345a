"""Conda packages, and ``conda-containerize``: rattler does the work."""
