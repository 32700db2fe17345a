"""Installations of Tykky become ours."""
