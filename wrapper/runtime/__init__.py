"""Singularity and Apptainer: finding one, what is bound, running a program of a build."""
