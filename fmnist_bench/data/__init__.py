"""Data sets and pixels: where Fashion-MNIST comes from, how files of others are read, on what scale pixels are.

The split into train and validation rows is made here; test rows are loaded by the report alone.
"""
