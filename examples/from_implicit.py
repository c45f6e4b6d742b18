"""Train, recommend, explain and save, with recsys or with implicit: only the import differs.

python examples/from_implicit.py [implicit]
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy.sparse import csr_matrix

if "implicit" in sys.argv:
    from implicit.als import AlternatingLeastSquares
else:
    from recsys.collaborative import AlternatingLeastSquares


def main() -> None:
    # Two scenes: listeners 0-9 play items 0-9, listeners 10-19 play items 10-19, not all of them.
    rng = np.random.default_rng(0)
    scene = np.kron(np.eye(2), np.ones((10, 10)))
    user_items = csr_matrix(scene * (rng.random((20, 20)) < 0.7), dtype=np.float32)

    model = AlternatingLeastSquares(factors=4, alpha=20.0, iterations=15, random_state=0)
    model.fit(user_items, show_progress=False)

    ids, _ = model.recommend(0, user_items[0], N=3)
    print("listener 0 may love items", *ids)
    many, _ = model.recommend([0, 15], user_items[[0, 15]], N=2)
    print("listener 15 may love items", *many[1])
    alike, _ = model.similar_items(12, N=3)
    print("like item 12:", *alike)
    total, shares, _ = model.explain(0, user_items, ids[0], N=2)
    print(f"item {ids[0]} scores {total:.2f}, most of it for items", *(item for item, _ in shares))
    newcomer = csr_matrix(([1.0, 1.0], ([0, 0], [11, 13])), shape=(1, 20), dtype=np.float32)
    fresh, _ = model.recommend(20, newcomer, N=3, recalculate_user=True)
    print("a newcomer who played 11 and 13 may love items", *fresh)

    with TemporaryDirectory() as folder:
        model.save(str(Path(folder) / "model"))
        again = type(model).load(str(Path(folder) / "model"))
    print("saved and opened again:", bool((again.item_factors == model.item_factors).all()))


if __name__ == "__main__":
    main()
