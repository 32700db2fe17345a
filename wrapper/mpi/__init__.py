"""MPI: which library a program loads, and how the host's gets there instead of one of its own."""
