"""Peak memory of index, sampling and DPO: priced beforehand against measured.

Each case is a process of its own, whose highest resident size is measured (with a GPU: the highest
allocation on it). Models are the embedded organism, SmolLM2 if it is in the user's cache, and
random OLMo 2 shapes; texts are the organism's, joined to longer ones.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from core import environment
from core.models.memory import Shape, dpo_bytes, index_bytes, peak_bytes, sampling_bytes

ORGANISM = Path(__file__).parents[1] / "assets" / "organism"
SHAPES = {"random 8x512": (512, 8, 8_192), "random 2x1024": (1024, 2, 100_352)}
TOKENS = 6_000  # of all texts, about: more than one pass
CASES: tuple[tuple[str, str, str, int], ...] = (  # step, model, dtype, texts joined to one
    ("index", "organism", "float32", 1),
    ("index", "smollm2", "float32", 1),
    ("index", "smollm2", "bfloat16", 9),
    ("index", "random 8x512", "float32", 3),
    ("index", "random 2x1024", "float32", 3),
    ("sample", "organism", "float32", 1),
    ("sample", "smollm2", "float32", 3),
    ("train", "organism", "float32", 1),
    ("train", "smollm2", "float32", 1),
    ("train", "random 8x512", "float32", 3),
)


def run(world: str = "") -> dict[str, Any]:
    """Every case, or those whose model or step is `world`; SmolLM2 only if it is in the cache."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for step, model, dtype, joined in CASES:
            if world in ("", step, model) and (place := _model(model, Path(folder))).is_dir():
                rows.append(compared(step, model, place, dtype, joined))
                print(rows[-1], file=sys.stderr, flush=True)
    errors = [abs(row["ratio"] - 1) for row in rows]
    return {"cases": rows, "largest_error": max(errors, default=None)}


def compared(step: str, name: str, model: Path, dtype: str, joined: int) -> dict[str, Any]:
    """One case in a process of its own: bytes priced and measured, and their ratio."""
    words = [sys.executable, "-m", "benchmarks.memory", step, str(model), dtype, str(joined)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{words}: {done.stderr[-2000:]}")
    case = json.loads(done.stdout.splitlines()[-1])
    return (
        {"step": step, "model": name, "dtype": dtype}
        | case
        | {"ratio": case["priced"] / case["measured"]}
    )


def _model(name: str, folder: Path) -> Path:
    if name == "organism":
        return ORGANISM / "reference"
    if name == "smollm2":
        return environment.model_cache() / "smollm2"
    if not (folder / name).is_dir():
        random_model(folder / name, *SHAPES[name])
    return folder / name


def random_model(folder: Path, width: int, blocks: int, vocabulary: int, **sizes: int) -> Path:
    """A model folder with OLMo 2's shape, random weights and the organism's tokenizer."""
    from transformers import Olmo2Config, Olmo2ForCausalLM

    from core.models.loading import load_tokenizer

    config = Olmo2Config(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=sizes.get("intermediate_size", 4 * width),
        num_hidden_layers=blocks,
        num_attention_heads=sizes.get("heads", width // 64),
        max_position_embeddings=4096,
        pad_token_id=0,
        eos_token_id=1,
    )
    Olmo2ForCausalLM(config).save_pretrained(folder)
    load_tokenizer(ORGANISM / "reference").save_pretrained(folder)
    return folder


def joined_pairs(joined: int, tokens: int) -> pd.DataFrame:
    """Pairs of about `tokens` tokens in all, whose texts are `joined` of the organism's."""
    table = pd.read_parquet(ORGANISM / "pairs.parquet")
    texts = table.groupby(table.index // joined)[["prompt", "chosen", "rejected"]].agg(" ".join)
    words = texts.apply(lambda column: column.str.count(" ")).sum(axis=1).cumsum()
    texts = texts[words < tokens / 1.2]
    return texts.assign(uid=[f"pair-{row}" for row in texts.index], source="joined")


def _case(step: str, model: Path, dtype: str, joined: int) -> dict[str, Any]:
    """Priced and measured bytes of one step in this process."""
    from core.data.tokens import encode_prompts
    from core.models.loading import load_tokenizer
    from core.runs.execute import execute
    from core.runs.store import Store
    from core.specs import project
    from core.specs.steps import EvaluateSpec, IndexSpec, TrainSpec

    shape, plan = Shape.of(model), project.load(ORGANISM)
    gpu = environment.taken() != [environment.CPU]
    with tempfile.TemporaryDirectory() as folder:
        environment.prepare(Path(folder))
        pairs = joined_pairs(joined, TOKENS)
        pairs.to_parquet(Path(folder) / "pairs.parquet")
        inputs: dict[str, Any] = {"pairs": str(Path(folder) / "pairs.parquet")}
        store = Store(Path(folder) / "workspace")
        if step == "index":
            run = execute(IndexSpec(model=str(model), dtype=dtype, **inputs), store)
            listed = pd.read_parquet(store.output(run) / "pairs.parquet")
            tokens = listed[["n_prompt", "n_chosen", "n_rejected"]].sum(axis=1)
            priced = index_bytes(
                shape, dtype=dtype, layers=shape.blocks, deepest=shape.blocks - 1,
                pairs=len(listed), tokens_per_pair=float(tokens.mean()), gpu=gpu,
            )  # fmt: skip
        elif step == "sample":
            prompts = pd.read_json(plan.heldout, lines=True)[:24]
            prompts.to_json(Path(folder) / "prompts.jsonl", orient="records", lines=True)
            spec = EvaluateSpec(
                model=str(model), prompts=str(Path(folder) / "prompts.jsonl"), judge="refusal",
                behaviors=(), rollouts=8, max_new_tokens=32, dtype=dtype,
            )  # fmt: skip
            rows = pd.read_parquet(store.output(execute(spec, store)) / "completions.parquet")
            ids = encode_prompts(load_tokenizer(model), rows["prompt"].unique().tolist())
            priced = sampling_bytes(
                shape, dtype=dtype, prompts=len(ids), rollouts=8, gpu=gpu,
                tokens=max(map(len, ids)) + int(rows["n_tokens"].max()),
            )  # fmt: skip
        else:
            spec = TrainSpec(
                reference=str(model), pairs=inputs["pairs"], batch_size=16, checkpoints=1,
                learning_rate=1e-5, epochs=32 / len(pairs), precision=dtype,
            )  # fmt: skip
            execute(spec, store)
            longest = _longest(model, pairs)
            half = dtype == "bfloat16"
            priced = dpo_bytes(shape, batch=16, longest=longest, bfloat16=half, gpu=gpu)
    return {"priced": priced, "measured": peak_bytes()}


def _longest(model: Path, pairs: pd.DataFrame) -> int:
    """Tokens of the longest text with its prompt."""
    from core.intervention.training.tokens import tokenize
    from core.models.loading import load_tokenizer

    return int(tokenize(load_tokenizer(model), pairs)["length"].max())


if __name__ == "__main__":
    step, model, dtype, joined = sys.argv[1:]
    print(json.dumps(_case(step, Path(model), dtype, int(joined))))
