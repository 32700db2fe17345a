"""Measurements of what the design promises, as ratios taken side by side in one run."""
