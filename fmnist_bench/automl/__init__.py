"""A search from Python: a scikit-learn classifier over arrays in memory, and what a run knows as tables and figures."""
