"""pip packages, and ``pip-containerize``: uv does the work, this package knows the rules."""
