"""One run from end to end: it checks what the user gave, searches, chooses the ensemble and reports."""

from fmnist_bench.runner.rewrite import rewrite_report
from fmnist_bench.runner.run import FinishedError, check_benchmark, run_benchmark

__all__ = ["FinishedError", "check_benchmark", "rewrite_report", "run_benchmark"]
