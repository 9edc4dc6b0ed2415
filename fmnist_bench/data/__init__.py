"""Data sets and pixels: where Fashion-MNIST comes from, on what scale pixels are; `readers` reads files of others.

The split into train and validation rows is made here; test rows are loaded by the report alone.
"""
