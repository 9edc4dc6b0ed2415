"""What is on disk: the folder of a run, the folder of a trial, records, Optuna's journal.

The name of every file in them stands here once.
"""
