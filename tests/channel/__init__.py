"""A small, real conda channel built from Debian packages and PyPI wheels, for tests and demos.

See README.md in this directory. ``python -m tests.channel DIR`` builds it.
"""
