"""Opens the test set once everything is fixed, counts what was found, and writes it as page, Markdown and lines.

Counting (`findings`, `metrics`), layout (`tables`, `draw`) and writing (`render`) are kept apart.
"""
