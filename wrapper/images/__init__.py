"""Image files of any kind: what they are, what is in them, where they come from."""
