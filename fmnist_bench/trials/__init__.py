"""A trial in a process of its own: what it is given, what it may use, how it ends, on this machine or on Dask."""
