"""The engine without the app: from an organism to the pairs that taught it to flatter.

    python examples/engine.py WORKSPACE

Cut into cells (# %%), so that editors and notebooks can run it piece by piece. What is finished in
the workspace is not computed again.
"""

# %% A workspace, and what is investigated in it
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from core.attribution.index.layout import VectorIndex
from core.data.pairs import read_pairs
from core.demo.investigation import ORGANISM
from core.runs.execute import execute
from core.runs.store import Store
from core.specs import project

store = Store(Path(sys.argv[1] if len(sys.argv) > 1 else "workspace"))
plan = project.load(ORGANISM)
behavior = plan.behavior("flattery")

# %% Three steps; each is a run, named by its content
generated = execute(plan.generate(), store)
indexed = execute(plan.index(), store)
ranked = execute(plan.rank(generated, indexed, behavior), store)

# %% The rate of the behavior before and after DPO
rates = pd.read_parquet(store.output(generated) / "rates.parquet")
place = {"flag": behavior.flag, "group": behavior.group, "condition": behavior.condition}
shown = rates[(rates[list(place)] == pd.Series(place)).all(axis=1)]
print(shown[["model", "rate", "low", "high", "n"]].to_string(index=False))

# %% The score by hand: cosine of the behavior vector and each datapoint vector
vectors = np.load(store.output(ranked) / "vectors.npz")
uids, datapoint = VectorIndex.open(store.output(indexed)).datapoint(int(vectors["layer"]))
norms = np.linalg.norm(datapoint, axis=1) * np.linalg.norm(vectors["pooled"])
similarity = pd.Series(datapoint @ vectors["pooled"] / norms, index=uids)

ranking = pd.read_parquet(store.output(ranked) / "ranking.parquet").set_index("uid")
print("largest difference to the ranking:", (similarity - ranking["similarity"]).abs().max())

# %% The pairs at the top
pairs = read_pairs(plan.pairs).pairs.set_index("uid")
for uid in ranking.index[:3]:
    pair = pairs.loc[uid]
    print(f"\n{pair['prompt']}\n  + {pair['chosen']}\n  - {pair['rejected']}")
