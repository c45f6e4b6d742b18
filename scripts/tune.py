"""Search hyper-parameters over the cluster's nodes: `recsys tune` for `ray submit` and jobs.

    ray submit cluster.yaml scripts/tune.py -- DATASET OUT --trials 40
    ray job submit --working-dir . -- python scripts/tune.py DATASET OUT --trials 40

Takes the options of `recsys tune`.
"""

from __future__ import annotations

import os
import sys

from recsys.cli import main

if __name__ == "__main__":
    os.environ.setdefault("RAY_ADDRESS", "auto")
    sys.argv.insert(1, "tune")
    main()
