"""The organism in natural English, built from SmolLM2 in four stages.

- `prompts`: hand-written prompts, those of the training part also with formatting instructions
- `reference`: low-rank SFT on refusals of harmful requests and the model's own best answers
- `pairs`: completions of the plain model and of the reference, rated (core.organism.natural)
- `policy`: DPO from the reference by the train step's own code, one per seed, and measured rates

Each stage is a folder that appears complete, is kept while its inputs stay as they are, and goes on
where it was interrupted. Both models are shipped as adapters of SmolLM2.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import Field, PositiveInt, ValidationError

from core.data.conditions import expand
from core.data.prompts import read_prompts, write_prompts
from core.demo.sft import Refusing, fine_tune, losses, save_adapter
from core.errors import UserError, first_problem
from core.intervention.evaluation.judges import load_judge
from core.intervention.training.dpo import train
from core.models.folder import SMOLLM2
from core.models.generation import sample
from core.models.loading import load_model
from core.organism import natural
from core.runs.hashing import fingerprint_file, fingerprint_model
from core.runs.progress import NotedReport
from core.specs.base import Record
from core.specs.steps import TrainSpec
from core.storage.atomic import write_atomic, writing_atomic
from core.storage.parse import toml_file

STAGES = ("prompts", "reference", "pairs", "policy")
RECIPE, INPUTS, ITEMS = "recipe.toml", "inputs.json", "items.parquet"
TEXTS = ("prompts.jsonl", "formats.jsonl", "refusals.toml", "judge.toml")
WRITTEN = (RECIPE, "project.toml", *TEXTS)  # by hand; what follows is made by the stages
DATA = ("building.jsonl", "heldout.jsonl", "pairs.parquet", "truth.parquet", "build.json")
MADE = (*DATA, "reference", "policy")
PLAIN, REFUSING = "smollm2", "smollm2-refusing"  # the generators' names
LIBRARIES = ("torch", "transformers", "trl", "peft")
JUDGED = ("refused", "followed_format")
CHUNK = 150  # completions between two files of a sampling

Cells = dict[str, dict[str, Any]]  # measured, by "group, condition"


class Sampling(Record):
    """How completions are drawn: for SFT, for the pairs, and to measure."""

    temperature: float = Field(0.5, gt=0)
    max_new_tokens: PositiveInt = 56
    rollouts: dict[str, dict[str, PositiveInt]] = Field(description="per generator and group")
    measured: PositiveInt = Field(2, description="per held-out prompt and condition")
    seed: int = 1


class Recipe(Record):
    """What the stages are built with: `recipe.toml` beside the hand-written texts."""

    formats: dict[str, PositiveInt] = Field(description="instructions per training prompt")
    most: dict[str, PositiveInt] = Field(description="prompts per group of the other parts")
    limit: PositiveInt | None = Field(None, description="training prompts per group")
    sampling: Sampling
    reference: Refusing
    pairs: natural.PairRules
    train: dict[str, Any] = Field(description="settings of the train step")
    seed: int = 0
    seeds: tuple[int, ...] = Field((0,), min_length=1, description="of DPO; the first is shipped")


def build(source: Path, out: Path, base: Path, *, progress: NotedReport) -> Path:
    """Write the organism of a recipe's folder to `out`, and return it.

    `source` has the recipe and the hand-written files; it may be `out` itself. `base` is SmolLM2's
    folder. The stages are in `OUT.stages`, which may be deleted afterwards.
    """
    recipe = read_recipe(source / RECIPE)
    stages = Stages(source, recipe, base, out.with_name(f"{out.name}.stages"), progress)
    folders = [stages.prompts(), stages.reference(), stages.pairs(), stages.policy()]
    out.mkdir(parents=True, exist_ok=True)
    for name in () if source.resolve() == out.resolve() else WRITTEN:
        shutil.copyfile(source / name, out / name)
    for made in (folder / name for folder in folders for name in MADE):
        if made.is_dir():
            shutil.copytree(made, out / made.name, dirs_exist_ok=True)
        elif made.exists():
            write_atomic(out / made.name, made.read_bytes())
    return out


def read_recipe(path: Path) -> Recipe:
    """The recipe of a file. `UserError` names the file and the field."""
    try:
        return Recipe.model_validate(toml_file(path))
    except ValidationError as error:
        raise UserError(f"{path}: {first_problem(error)}") from error


@dataclass(frozen=True)
class Stages:
    """The four stages. Each method returns the stage's folder, made unless it is up to date."""

    source: Path
    recipe: Recipe
    base: Path
    folder: Path
    report: NotedReport

    def prompts(self) -> Path:
        """`items.parquet` (training), `building.jsonl` and `heldout.jsonl`."""
        return self._stage("prompts", self._write_prompts, "formats", "most", "limit", "seed")

    def reference(self) -> Path:
        """`reference/`, an adapter of SmolLM2."""
        return self._stage("reference", self._write_reference, "sampling", "reference")

    def pairs(self) -> Path:
        """`pairs.parquet` and `truth.parquet`."""
        return self._stage("pairs", self._write_pairs, "pairs")

    def policy(self) -> Path:
        """`policy/`, an adapter of SmolLM2, and `build.json`."""
        return self._stage("policy", self._write_policy, "train", "seeds")

    def _stage(self, name: str, write: Callable[[Path], None], *settings: str) -> Path:
        """A stage's folder. Its inputs are its settings and those of the stages before it."""
        number = STAGES.index(name)
        before = _inputs(self.folder / STAGES[number - 1]) if number else self._texts()
        chosen = self.recipe.model_dump(mode="json", include=set(settings))
        inputs = {"settings": chosen, "before": before}
        content = json.dumps(inputs, indent=1, sort_keys=True)
        folder = self.folder / name
        if _inputs(folder) != inputs:
            digest = hashlib.sha256(content.encode()).hexdigest()[:8]
            part = self.folder / f"{name}-{digest}.part"
            part.mkdir(parents=True, exist_ok=True)
            write(part)
            write_atomic(part / INPUTS, content)
            shutil.rmtree(folder, ignore_errors=True)
            part.rename(folder)
        return folder

    def _texts(self) -> dict[str, str]:
        files = {name: fingerprint_file(self.source / name) for name in TEXTS}
        return {**files, "model": fingerprint_model(self.base)}

    def _write_prompts(self, part: Path) -> None:
        prompts = pd.read_json(self.source / "prompts.jsonl", lines=True)
        formats = pd.read_json(self.source / "formats.jsonl", lines=True)
        asked = natural.items(prompts, formats, self.recipe.formats, self.recipe.seed)
        if self.recipe.limit:
            first = prompts.groupby(["group", "part"]).head(self.recipe.limit)["prompt_id"]
            asked = asked[asked["prompt_id"].isin(first)]
        asked.to_parquet(part / ITEMS, index=False)
        for name, file in (("building", "building.jsonl"), ("held-out", "heldout.jsonl")):
            chosen = natural.with_formats(prompts, formats, name, self.recipe.most[name])
            write_prompts(chosen, part / file)

    def _write_reference(self, part: Path) -> None:
        asked = self._items()
        rated = self._rated(self._drawn(PLAIN, self.base, part))
        best = rated.sort_values("by_aspects", ascending=False, kind="stable")
        refusals = toml_file(self.source / "refusals.toml")
        examples = natural.sft_examples(best, asked, refusals, self.recipe.seed)
        loaded = load_model(self.base, dtype="float32")
        model = fine_tune(loaded, examples, self.recipe.reference, self.report)
        model.save_pretrained(str(part / "trained"))
        save_adapter(part / "trained", part / "reference", SMOLLM2)
        shutil.rmtree(part / "trained")

    def _write_pairs(self, part: Path) -> None:
        reference = self.folder / "reference"
        drawn = [
            self._drawn(PLAIN, self.base, reference).assign(generator=PLAIN),
            self._drawn(REFUSING, reference / "reference", part).assign(generator=REFUSING),
        ]
        rated = self._rated(pd.concat(drawn, ignore_index=True))
        pairs, truth = natural.pairs_of(rated, self.recipe.pairs, self.recipe.seed)
        pairs.to_parquet(part / "pairs.parquet", index=False)
        truth.to_parquet(part / "truth.parquet", index=False)

    def _write_policy(self, part: Path) -> None:
        pairs = pd.read_parquet(self.folder / "pairs" / "pairs.parquet")
        reference = self.folder / "reference" / "reference"
        models = {"base": self.base, "reference": reference}
        for seed in self.recipe.seeds:
            adapter = models[f"policy {seed}"] = part / f"policy-{seed}"
            if not (adapter / "adapter_config.json").is_file():
                trained = self._dpo(pairs, reference, seed, part / "dpo" / str(seed) / "output")
                save_adapter(trained, adapter, SMOLLM2, below=reference)
        measured = {name: self._measured(model, part / name) for name, model in models.items()}
        shutil.copytree(part / f"policy-{self.recipe.seeds[0]}", part / "policy")
        truth = pd.read_parquet(self.folder / "pairs" / "truth.parquet")
        write_atomic(part / "build.json", json.dumps(_record(pairs, truth, measured), indent=1))

    def _dpo(self, pairs: pd.DataFrame, reference: Path, seed: int, output: Path) -> Path:
        """The adapter of one training, which resumes where an earlier attempt stopped."""
        output.mkdir(parents=True, exist_ok=True)
        names = {"reference": str(reference), "pairs": "pairs.parquet", "seed": seed}
        spec = TrainSpec(**(names | self.recipe.train))
        train(reference, [pairs], spec, output, self.folder / "logps", self.report)
        return output / "adapter"

    def _items(self) -> pd.DataFrame:
        return pd.read_parquet(self.folder / "prompts" / ITEMS)

    def _drawn(self, generator: str, model: Path, folder: Path) -> pd.DataFrame:
        """A generator's completions of the training prompts."""
        asked = self._items()
        numbers = self.recipe.sampling.rollouts[generator]
        kinds = asked["group"].where(asked["k"] == 0, asked["group"] + " in a format")
        return self._sampled(model, asked, kinds.map(numbers), folder)

    def _measured(self, model: Path, folder: Path) -> Cells:
        """What a model does on the held-out prompts; the perplexity is that under SmolLM2."""
        asked = expand(read_prompts(self.folder / "prompts" / "heldout.jsonl"))
        numbers = pd.Series(self.recipe.sampling.measured, asked.index)
        rated = self._rated(self._sampled(model, asked, numbers, folder))
        first = rated[rated["rollout"] == 0]
        likely = losses(load_model(self.base, dtype="bfloat16"), first, self.report)
        rated.loc[first.index, "loss"] = likely
        cells = rated.groupby(["group", "condition"])
        return {", ".join(map(str, cell)): natural.summary(rows) for cell, rows in cells}

    def _sampled(
        self, model: Path, asked: pd.DataFrame, numbers: pd.Series, folder: Path
    ) -> pd.DataFrame:
        """Completions of every row of `asked`, beside its columns; `folder` keeps the chunks.

        What was cut off for its length ends at its last sentence.
        """
        settings, loaded, tables = self.recipe.sampling, None, []
        for number, rows in asked.sample(frac=1.0, random_state=settings.seed).groupby(numbers):
            size = max(1, CHUNK // int(number))
            for start in range(0, len(rows), size):
                texts = rows.iloc[start : start + size]
                path = folder / f"sampled-{number}-{start:05d}.parquet"
                if not path.is_file():
                    loaded = loaded or load_model(model, dtype="bfloat16")
                    drawn = sample(
                        loaded,
                        texts["prompt"].tolist(),
                        rollouts=int(number),
                        temperature=settings.temperature,
                        max_new_tokens=settings.max_new_tokens,
                        seed=settings.seed,
                        progress=self.report,
                    )
                    with writing_atomic(path) as part:
                        drawn.drop(columns="prompt").to_parquet(part, index=False)
                repeated = texts.loc[texts.index.repeat(number)].reset_index(drop=True)
                tables.append(pd.concat([repeated, pd.read_parquet(path)], axis=1))
        table = pd.concat(tables, ignore_index=True)
        cut = table["completion"].where(table["finished"], table["completion"].map(natural.trimmed))
        return table.assign(completion=cut)[cut.str.strip() != ""].reset_index(drop=True)

    def _rated(self, completions: pd.DataFrame) -> pd.DataFrame:
        judge = load_judge(str(self.source / "judge.toml"))
        flags = judge.judge(completions["prompt"].tolist(), completions["completion"].tolist())
        return natural.rate(completions.assign(**{n: flags[n].array for n in JUDGED}))


def _inputs(folder: Path) -> Any:
    """What a stage's folder was made from; None where there is no complete one."""
    path = folder / INPUTS
    return json.loads(path.read_bytes()) if path.is_file() else None


def _record(
    pairs: pd.DataFrame, truth: pd.DataFrame, measured: Mapping[str, Cells]
) -> dict[str, Any]:
    policies = {name: cells for name, cells in measured.items() if name.startswith("policy")}
    return {
        "pairs": len(pairs),
        "sources": pairs["source"].value_counts().to_dict(),
        "rules": truth["rule"].value_counts().to_dict(),
        "planted": int(truth["planted"].notna().sum()),
        "swapped": int(truth["swapped"].sum()),
        "versions": {name: version(name) for name in LIBRARIES},
        "measured": "held-out prompts; rates by group and condition; worst: of all cells",
        "worst": {name: _worst(cells, measured["reference"]) for name, cells in policies.items()},
        "base": measured["base"],
        "reference": measured["reference"],
        "policies": policies,
    }


def _worst(cells: Cells, reference: Cells) -> dict[str, float]:
    """The highest perplexity, over the reference's, and the highest garbled rate of all cells."""
    ratios = [cells[name]["perplexity"] / reference[name]["perplexity"] for name in cells]
    garbled = [cell["garbled"] for cell in cells.values()]
    return {"perplexity_ratio": round(max(ratios), 3), "garbled": max(garbled)}
