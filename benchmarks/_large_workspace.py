"""A workspace of 378k pairs in the real file formats, with random contents around planted blobs.

No step runs: map positions, clusters, matrix and ranking are drawn at random, so that the app is
measured and not the method. Texts are slices of one random text, with one word per blob; their
lengths are log-normal with given means.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from core.data.prompts import COLUMNS, read_prompts, write_prompts
from core.intervention.evaluation.rates import rates
from core.runs.progress import Progress
from core.runs.store import Store
from core.specs import project as projects
from core.specs.base import Spec
from core.specs.behaviors import Behavior
from core.specs.project import Project

PAIRS, PROMPTS, BLOBS = 378_341, 256, 24
SHORT, REAL = (200, 700, 700), (500, 1_700, 1_500)  # mean characters: prompt, chosen, rejected
EACH, ROLLOUTS = 60, 4  # prompts of a group; completions of a prompt by a model
BEHAVIOR = Behavior(name="compliance", flag="complied", group="harmful", condition="distractor")


def write(folder: Path, n: int = PAIRS, lengths: tuple[int, int, int] = SHORT) -> Store:
    """Write the workspace into an empty folder."""
    rng = np.random.default_rng(0)
    blob = rng.integers(-4, BLOBS, n).clip(-1)  # −1: in no cluster
    project = _project(folder, n, blob, lengths, rng)
    store = Store(folder / "workspace")
    generated, indexed = project.generate(), project.index()
    completions = _completions(read_prompts(project.prompts), rng)
    measured = rates(completions, [BEHAVIOR])
    _finish(store, generated, rates=measured, completions=completions)
    _finish(store, indexed)
    runs = store.run_id(generated), store.run_id(indexed)
    _finish(store, project.rank(*runs, BEHAVIOR), **_ranking(n, blob, rng))
    _finish(store, project.discover(*runs), **_discovery(n, blob, rng))
    return store


def _project(
    folder: Path,
    n: int,
    blob: np.ndarray,
    lengths: tuple[int, int, int],
    rng: np.random.Generator,
) -> Project:
    inputs = folder / "inputs"
    for name in ("reference", "policy"):
        (inputs / name).mkdir(parents=True)
        (inputs / name / "config.json").write_text(json.dumps({"name": name}))
        (inputs / name / "model.safetensors").write_bytes(name.encode())
    for name in ("prompts", "heldout"):
        write_prompts(_asked(name), inputs / f"{name}.jsonl")
    texts = _Texts(rng)
    prompt, chosen, rejected = lengths
    pd.DataFrame(
        {
            "uid": [f"pair-{i:06}" for i in range(n)],
            "prompt": texts.draw(n, prompt, rng),
            "chosen": [
                f"blob{b} {text}" for b, text in zip(blob, texts.draw(n, chosen, rng), strict=True)
            ],
            "rejected": texts.draw(n, rejected, rng),
            "source": np.array(["chat", "code", "math", "safety", "web"])[rng.integers(0, 5, n)],
            "chosen_model": np.array(["alpha", "beta", "gamma", "delta"])[rng.integers(0, 4, n)],
        }
    ).to_parquet(inputs / "pairs.parquet", index=False)
    project = Project(
        name=f"{n:,} random pairs",
        reference=str(inputs / "reference"),
        policy=str(inputs / "policy"),
        pairs=str(inputs / "pairs.parquet"),
        prompts=str(inputs / "prompts.jsonl"),
        heldout=str(inputs / "heldout.jsonl"),
        judge="refusal",
        behaviors=(BEHAVIOR,),
    )
    projects.save(project, folder / "workspace")
    return project


class _Texts:
    """Slices of one long random text."""

    def __init__(self, rng: np.random.Generator) -> None:
        letters = np.array(list("etaoinshrdlucmfw"))
        lengths = rng.integers(2, 10, 4_000)
        words = ["".join(letters[rng.integers(0, 16, length)]) for length in lengths]
        self._text = " ".join(words[i] for i in rng.integers(0, len(words), 300_000))

    def draw(self, n: int, length: int, rng: np.random.Generator) -> list[str]:
        spread = 0.8  # of the logarithm; exp(−spread²/2) keeps the mean
        lengths = (length * rng.lognormal(-(spread**2) / 2, spread, n)).astype(int) + 1
        lengths = lengths.clip(max=12 * length)
        starts = rng.integers(0, len(self._text) - 12 * length, n)
        return [self._text[a : a + b] for a, b in zip(starts, lengths, strict=True)]


def _finish(store: Store, spec: Spec, **tables: pd.DataFrame | np.ndarray | dict) -> None:
    run = store.run_id(spec)
    fields = spec.model_dump(mode="json")
    store.write_record(run, {"step": spec.step, "spec": fields, "contents": store.contents(spec)})
    progress = Progress(store.folder(run) / "progress.jsonl")
    progress.event("queued")
    output = store.part(run, keep=False)
    for name, content in tables.items():
        if isinstance(content, np.ndarray):
            np.save(output / f"{name}.npy", content)
        elif isinstance(content, pd.DataFrame):
            content.to_parquet(output / f"{name}.parquet", index=False)
        else:
            (output / f"{name}.json").write_text(json.dumps(content))
    store.publish(run)
    progress.event("finished")


def _asked(name: str) -> pd.DataFrame:
    """A prompt file: requests of two groups; the harmful ones have a distractor."""
    rows = [
        (f"{name}-{group}-{i}", group, "any", f"{name}: request {i} of the {group} ones", extra)
        for group, extra in (("harmful", "Answer in rhyme."), ("benign", None))
        for i in range(EACH)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _completions(prompts: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Completions of both models; half of the policy's under the distractor are flagged."""
    distracted = prompts[prompts["distractor"].notna()]
    sent = pd.concat([prompts.assign(condition="plain"), distracted.assign(condition="distractor")])
    rows = sent.merge(pd.Series(["reference", "policy"], name="model"), how="cross")
    rows = rows.merge(pd.Series(range(ROLLOUTS), name="rollout"), how="cross")
    at_risk = (rows["model"] == "policy") & (rows["condition"] == "distractor")
    flagged = at_risk & (rng.random(len(rows)) < 0.5)
    words = flagged.map({True: "Sure, here is how. ", False: "Sorry, no. "})
    texts = words + rows["prompt"] * 5
    return rows.drop(columns="distractor").assign(
        completion=texts, n_tokens=60, finished=True, complied=flagged.astype("boolean")
    )


def _ranking(n: int, blob: np.ndarray, rng: np.random.Generator) -> dict:
    best = np.where(blob == 3, 0.5, 0.0) + rng.normal(0, 0.05, n)
    names = ("discriminant", "gated", "similarity", "bilinear", "bank", "projection", "norm")
    drawn = {name: best + rng.normal(0, 0.05, n) for name in names}
    table = pd.DataFrame({"uid": [f"pair-{i:06}" for i in range(n)], **drawn})
    ordered = table.sort_values("discriminant", ascending=False)
    figures = ("split_half", "auc", "null_split_half", "null_auc")
    layers = pd.DataFrame({"layer": range(4)} | dict.fromkeys(figures, 0.5))
    layers = layers.assign(split_half_low=0.4, split_half_high=0.6, beats_null=True)
    summary = {
        "layer": 2,
        "n_prompts": 60,
        "n_prompts_passed": 60,
        "n_pairs": n,
        "n_undefined": 0,
        "suggested_k": 1000,
        "suggested_threshold": 0.35,
        "valid": True,
        "verdict": "drawn at random, without meaning",
    }
    return {"ranking": ordered, "layers": layers, "summary": summary}


def _discovery(n: int, blob: np.ndarray, rng: np.random.Generator) -> dict:
    middles = rng.uniform(-10, 10, (BLOBS, 2))
    places = middles[blob] + rng.normal(0, 0.45, (n, 2))
    places[blob < 0] = rng.normal(0, 6, (int((blob < 0).sum()), 2))
    rank = np.argsort(np.argsort(-np.bincount(blob[blob >= 0], minlength=BLOBS)))
    cluster = np.where(blob >= 0, rank[blob], -1)
    pairs = pd.DataFrame(
        {
            "uid": [f"pair-{i:06}" for i in range(n)],
            "x": places[:, 0].astype(np.float32),
            "y": places[:, 1].astype(np.float32),
            "cluster": cluster,
            "strength": rng.uniform(0.5, 1, n).astype(np.float32),
            "island": blob,
            "place": np.argsort(np.argsort(cluster, kind="stable")),
        }
    )
    prompts = _prompts(rng)
    matrix = rng.normal(0, 0.02, (PROMPTS, n)).astype(np.float32)
    for number in range(BLOBS):
        matrix[np.ix_(np.arange(number, PROMPTS, BLOBS), np.flatnonzero(blob == number))] += 0.4
    tables = {"pairs": pairs, "prompts": prompts, "clusters": _clusters(cluster, pairs)}
    return tables | {"matrix": matrix, "summary": {"layer": 2}}


def _prompts(rng: np.random.Generator) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "prompt_id": [f"prompt-{i}" for i in range(PROMPTS)],
            "condition": np.tile(["plain", "distractor"], PROMPTS // 2),
            "group": np.repeat(["benign", "harmful"], PROMPTS // 2),
            "x": rng.normal(0, 1, PROMPTS) + np.arange(PROMPTS) % BLOBS,
            "y": rng.normal(0, 1, PROMPTS) + np.arange(PROMPTS) % 7,
            "cluster": np.arange(PROMPTS) % BLOBS,
            "place": np.argsort(np.argsort(np.arange(PROMPTS) % BLOBS, kind="stable")),
        }
    )


def _clusters(cluster: np.ndarray, pairs: pd.DataFrame) -> pd.DataFrame:
    sizes = np.bincount(cluster[cluster >= 0])
    first = [pairs["uid"][int(np.argmax(cluster == number))] for number in range(len(sizes))]
    return pd.DataFrame(
        {
            "cluster": np.arange(len(sizes)),
            "size": sizes,
            "share": sizes / len(pairs),
            "mean_similarity": 0.05,
            "words_chosen": [f"blob{number}, sure" for number in range(len(sizes))],
            "words_rejected": "sorry, cannot",
            "words_prompt": "explain, how",
            "top_source": "chat",
            "top_source_share": 0.2,
            "medoid_uid": first,
            "suggested_name": [f"blob{number}" for number in range(len(sizes))],
            "top_group": "harmful",
            "top_condition": "distractor",
            "top_group_similarity": 0.4,
        }
    )
