"""What saved models predict, and what that costs."""

import numpy as np
from scenes import make_run

from fmnist_bench._utils.environment import cores
from fmnist_bench.data.split import Split
from fmnist_bench.report.predictions import Models
from fmnist_bench.storage.results import TrialResult
from fmnist_bench.storage.trial import Trial


def test_what_rows_will_cost_is_known_before_they_are_predicted(tmp_path):
    run = make_run(tmp_path)
    run.save_split(Split(np.arange(10), np.arange(10, 20)), np.zeros(20, np.int64))
    for number, seconds in ((0, 2.0), (1, 4.0)):
        result = TrialResult("complete", accuracy=0.5, log_loss=1.0, fit_seconds=9.0, predict_seconds=seconds)
        run.save_record(Trial("svm", number, result=result, seconds=9.0 + seconds, ended=9.0))
    with Models(run) as models:
        assert models.seconds([("svm", 0)], 0) == 2.0  # to start it
        assert models.seconds([("svm", 0)], 20) == 2.0 + 4.0  # twice the ten validation rows
        assert models.seconds([("svm", 0), ("svm", 1)], 20) == max(18.0 / cores(), 12.0)
