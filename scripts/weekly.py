"""Write every listener's Discover Weekly: `recsys weekly` for `ray submit` and `ray job submit`.

    ray submit cluster.yaml scripts/weekly.py -- MODELS OUT
    ray job submit --working-dir . -- python scripts/weekly.py MODELS OUT

Takes the options of `recsys weekly`.
"""

from __future__ import annotations

import os
import sys

from recsys.cli import main

if __name__ == "__main__":
    os.environ.setdefault("RAY_ADDRESS", "auto")
    sys.argv.insert(1, "weekly")
    main()
