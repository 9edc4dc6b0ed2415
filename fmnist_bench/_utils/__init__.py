"""What several packages need and nobody would look for elsewhere: errors, files, environment, caches.

Nothing here knows what a trial or a data set is.
"""
