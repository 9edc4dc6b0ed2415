"""TOML files in, search spaces, studies and benchmarks out; every mistake in them is one line.

Classes that a file names are built here, under the rules of what it may name.
"""
