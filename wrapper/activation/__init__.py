"""What activating an environment does, shown at build time and kept as data."""
