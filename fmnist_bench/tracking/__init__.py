"""MLflow, and nothing else imports it: every trial as a run, the ensemble as a registered model, servers.

The run's own files are the truth; what MLflow misses is added when it answers again.
"""
