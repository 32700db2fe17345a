"""What the commands do, a verb a file, each to be read from top to bottom."""
