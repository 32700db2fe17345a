"""``wrap-container`` and ``wrap-install``: shims for what exists already."""
