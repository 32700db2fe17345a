"""From a request to a finished tree and what becomes of it: see :mod:`wrapper.build.recipe`."""
