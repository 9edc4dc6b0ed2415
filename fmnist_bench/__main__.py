"""``python -m fmnist_bench``."""

import sys

from fmnist_bench.cli import main

if __name__ == "__main__":
    sys.exit(main())
