"""Every reader of a file that others can write, fed with broken ones.

A reader answers with a value or with one of our own errors, in at most five seconds and one GiB.
Inputs are good ones, mutated with a seeded generator: what fails can be made again by its number.
"""
