"""``containerize build``: one portable SIF file instead of an installation."""
