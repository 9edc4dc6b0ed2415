"""The first that the server which forks the trials imports: imports are a fifth quicker without garbage collections."""

import gc

gc.disable()
