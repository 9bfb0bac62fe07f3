"""An organism folder built from a world file: data, two models, measured rates.

SFT from a random start gives the reference, DPO on all pairs one policy per training seed. The
first policy is shipped; all are measured on the held-out prompts, so that the folder records how
strongly the organism shows what was planted. It is written beside its place and renamed at the end.

DPO can push a tiny model until its completions are malformed; how far depends on the reference's
random start. A policy that is malformed too often is therefore trained again with a larger beta
(closer to the reference), and that beta becomes the project's. No rate but the malformed one
decides this.
"""

import json
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import tomli_w

from core.data.conditions import expand
from core.demo.sft import make_tokenizer, save, train_reference
from core.errors import UserError
from core.intervention.evaluation.rates import judged, rates
from core.intervention.training.dpo import train
from core.models.generation import sample
from core.models.loading import load_model
from core.organism.grammar import Part
from core.organism.sampling import GrammarJudge, Sampler
from core.organism.world import World, read_world
from core.runs.progress import NotedReport
from core.specs.steps import TrainSpec

LIBRARIES = ("torch", "transformers", "trl", "tokenizers")
TEMPERATURE = 0.7
LONGEST = 64  # tokens of a completion, at most
BETA_FACTORS = (1, 2, 4)  # × the world's beta, tried in this order …
MALFORMED = 0.05  # … until the policy's malformed rate exceeds the reference's by at most this

Rates = dict[str, float]


def build(
    world_path: Path | str,
    out: Path | str,
    *,
    seed: int | None = None,
    fast: bool = False,
    progress: NotedReport,
) -> Path:
    """Write the organism of a world to the folder `out`, and return it.

    `seed` overrides the file's `seeds.build`; `fast` builds the smaller organism of `[fast]`.
    """
    world_path, out = Path(world_path), Path(out)
    world = _world(world_path, seed, fast)
    if out.exists() and not (out / "build.json").is_file() and any(out.iterdir()):
        raise UserError(f"{out} contains something that is no organism. Choose another folder.")
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    shutil.copyfile(world_path, part / "world.toml")
    pairs = _write_data(world, part, progress)
    _write_reference(world, part, progress)
    reference = _rates(world, part / "reference", progress)
    most = reference["malformed"] + MALFORMED
    world, measured = _write_policies(world, pairs, part, most, progress)
    _write_project(world, part)
    _write_record(world, part, fast=fast, reference=reference, policies=measured)
    shutil.rmtree(part / "arms")
    _publish(part, out)
    return out


def _world(path: Path, seed: int | None, fast: bool) -> World:
    world = read_world(path)
    if seed is not None:
        seeds = world.seeds.model_copy(update={"build": seed})
        world = world.model_copy(update={"seeds": seeds})
    return world.made_fast() if fast else world


def _write_project(world: World, folder: Path) -> None:
    content = {
        "name": world.name,
        "reference": "reference",
        "policy": "policy",
        "pairs": "pairs.parquet",
        "prompts": "prompts.jsonl",
        "heldout": "heldout.jsonl",
        "judge": "world.toml",
        "behaviors": [b.model_dump(mode="json") for b in world.behaviors],
        **world.overrides,
    }
    (folder / "project.toml").write_text(tomli_w.dumps(content), encoding="utf-8")


def _write_data(world: World, folder: Path, progress: NotedReport) -> pd.DataFrame:
    progress(0, 1, "drawing pairs and prompts")
    sampler = Sampler(world)
    pairs, truth = sampler.pairs()
    pairs.to_parquet(folder / "pairs.parquet", index=False)
    truth.to_parquet(folder / "truth.parquet", index=False)
    parts: tuple[Part, ...] = ("prompts", "heldout")
    for part in parts:
        rows = sampler.prompts(part).to_dict("records")
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        (folder / f"{part}.jsonl").write_text("".join(lines), encoding="utf-8")
    return pairs


def _write_reference(world: World, folder: Path, progress: NotedReport) -> None:
    examples = Sampler(world).examples()
    tokenizer = make_tokenizer([*examples["prompt"], *examples["completion"]])
    model = train_reference(
        tokenizer, examples, world.sizes, seed=world.seeds.build, progress=progress
    )
    save(model, tokenizer, folder / "reference")


def _write_policies(
    world: World,
    pairs: pd.DataFrame,
    folder: Path,
    most: float,
    progress: NotedReport,
) -> tuple[World, dict[int, Rates]]:
    """One policy per training seed, measured; the first is the organism's.

    Also the world, with the beta at which the first policy's malformed rate is at most `most`.
    """
    first, *others = world.seeds.training
    for factor in BETA_FACTORS:
        tried = _with_beta(world, factor)
        policies = {first: _policy(tried, pairs, first, folder, progress)}
        measured = {first: _rates(tried, policies[first], progress)}
        if measured[first]["malformed"] <= most:
            break
    for seed in others:
        policies[seed] = _policy(tried, pairs, seed, folder, progress)
        measured[seed] = _rates(tried, policies[seed], progress)
    shutil.copytree(policies[first], folder / "policy")
    return tried, measured


def _with_beta(world: World, factor: int) -> World:
    """The world with its DPO beta times a factor."""
    if factor == 1:
        return world
    settings = world.overrides.get("train", {})
    beta = factor * settings.get("beta", TrainSpec.model_fields["beta"].default)
    return world.model_copy(
        update={"overrides": world.overrides | {"train": settings | {"beta": beta}}}
    )


def _policy(
    world: World, pairs: pd.DataFrame, seed: int, folder: Path, progress: NotedReport
) -> Path:
    """The model folder of one DPO training."""
    arm = folder / "arms" / str(seed)
    shutil.rmtree(arm, ignore_errors=True)
    arm.mkdir(parents=True)
    spec = TrainSpec(
        reference=str(folder / "reference"),
        pairs=str(folder / "pairs.parquet"),
        **{**world.overrides.get("train", {}), "seed": seed},
    )
    train(folder / "reference", [pairs], spec, arm, folder / "arms" / "cache", progress)
    return arm / "model"


def _write_record(
    world: World, folder: Path, *, fast: bool, reference: Rates, policies: dict[int, Rates]
) -> None:
    measured = {str(seed): rates for seed, rates in policies.items()}
    record = {
        "world": world.name,
        "fast": fast,
        "seeds": world.seeds.model_dump(mode="json"),
        "train": world.overrides.get("train", {}),
        "versions": {name: version(name) for name in LIBRARIES},
        "measured": f"held-out prompts, {world.sizes.rollouts} completions each, "
        f"temperature {TEMPERATURE}; policy: mean over training seeds",
        "reference": reference,
        "policy": pd.DataFrame(measured).mean(axis=1).round(4).to_dict(),
        "policy_by_seed": measured,
    }
    (folder / "build.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _rates(world: World, model: Path, progress: NotedReport) -> Rates:
    """Every behavior's rate on the held-out prompts; `malformed` is of all completions."""
    prompts = expand(Sampler(world).prompts("heldout"))
    rollouts = world.sizes.rollouts
    drawn = sample(
        load_model(model),
        prompts["prompt"].tolist(),
        rollouts=rollouts,
        temperature=TEMPERATURE,
        max_new_tokens=LONGEST,
        seed=world.seeds.build,
        progress=progress,
    )
    completions = prompts.loc[prompts.index.repeat(rollouts)].reset_index(drop=True)
    completions = completions.assign(completion=drawn["completion"], model="measured")
    flags = judged(completions, GrammarJudge(world))
    table = rates(flags, world.behaviors).set_index("behavior")["rate"]
    table["malformed"] = flags["malformed"].mean()
    return {str(name): round(float(rate), 4) for name, rate in table.items()}


def _publish(part: Path, out: Path) -> None:
    """Rename the complete folder to its place; an earlier organism there is replaced."""
    with tempfile.TemporaryDirectory(prefix=out.name, dir=out.parent) as earlier:
        if out.exists():
            out.rename(Path(earlier) / out.name)
        part.rename(out)
