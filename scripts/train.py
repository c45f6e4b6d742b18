"""Train over the cluster's nodes: `recsys train` for `ray submit` and `ray job submit`.

    ray submit cluster.yaml scripts/train.py -- DATASET MODELS --workers 3
    ray job submit --working-dir . -- python scripts/train.py DATASET MODELS --workers 3

Takes the options of `recsys train`.
"""

from __future__ import annotations

import os
import sys

from recsys.cli import main

if __name__ == "__main__":
    os.environ.setdefault("RAY_ADDRESS", "auto")
    sys.argv.insert(1, "train")
    main()
