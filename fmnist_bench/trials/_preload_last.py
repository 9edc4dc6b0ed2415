"""What every trial would do first, done once by the server that forks the trials, after its imports."""

import gc
import signal

from sklearn.metrics import log_loss
from threadpoolctl import threadpool_limits

signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a closed terminal ends the search; its trials are ended by that
log_loss([0, 1], [0.1, 0.9])  # scikit-learn looks through all installed packages for kinds of data frames, once
threadpool_limits(1)  # a forked process that tells OpenBLAS starts its threads, which spin for some 30 ms a library
gc.enable()  # see `_preload_first`
gc.collect()
gc.freeze()  # a collection in a forked process would copy every page that holds an object
