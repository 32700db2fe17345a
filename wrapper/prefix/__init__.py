"""An installation on disk: its names, generations, shims and record, and how it appears."""
