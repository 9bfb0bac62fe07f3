"""A folder from which an arm can be trained on another machine, without PairTrace.

It contains the arm's pairs in the formats of TRL and open-instruct, a script for TRL with every
setting of the train spec, launch settings for accelerate, and a README with commands and
provenance. `pairtrace elsewhere import` takes the trained model folder back. The script is TRL's
own way of doing the same training, and shares no code with ours.
"""

import json
import os
import shlex
import shutil
from pathlib import Path

import pandas as pd
from jinja2 import StrictUndefined, Template

from core.errors import UserError
from core.runs.store import Store
from core.specs.project import Project
from core.specs.steps import TrainSpec
from core.storage.atomic import write_atomic
from core.storage.tables import data_frame

LAUNCH = Path(__file__).parents[2] / "assets" / "launch"
SETTINGS = ("one_gpu.yaml", "fsdp2.yaml", "deepspeed_zero3.yaml")


def export_training(store: Store, project: Project, edit: str, out: Path, *, seed: int) -> Path:
    """Write the folder of an edit run's arm. `UserError` where `out` exists: nothing is lost."""
    if out.exists():
        raise UserError(f"{out} exists already. Choose another name, or delete it first.")
    pairs = data_frame(store.pairs(edit))
    spec = project.train(edit, seed)
    part = out.with_name(f"{out.name}.{os.getpid()}.part")
    part.mkdir(parents=True)
    try:
        _write_pairs(part, pairs)
        settings = spec.model_dump(exclude={"reference", "pairs", "checkpoint"})
        write_atomic(part / "settings.json", json.dumps(settings, indent=2) + "\n")
        write_atomic(part / "edit.json", json.dumps(store.record(edit), indent=2) + "\n")
        for name in ("train.py", *SETTINGS):
            shutil.copy2(LAUNCH / name, part / name)
        write_atomic(part / "README.md", _readme(spec, edit, len(pairs), store))
        os.replace(part, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return out


def _write_pairs(folder: Path, pairs: pd.DataFrame) -> None:
    """As conversations: for TRL with the prompt separate, for open-instruct in both completions."""
    with (
        (folder / "pairs.jsonl").open("w", encoding="utf-8") as trl,
        (folder / "open_instruct.jsonl").open("w", encoding="utf-8") as open_instruct,
    ):
        columns = ["uid", "prompt", "chosen", "rejected"]
        for uid, *texts in pairs[columns].itertuples(index=False, name=None):
            roles = ("user", "assistant", "assistant")
            prompt, chosen, rejected = (
                [{"role": role, "content": text}] for role, text in zip(roles, texts, strict=True)
            )
            row = {"uid": uid, "prompt": prompt, "chosen": chosen, "rejected": rejected}
            trl.write(json.dumps(row, ensure_ascii=False) + "\n")
            row = {"uid": uid, "chosen": prompt + chosen, "rejected": prompt + rejected}
            open_instruct.write(json.dumps(row, ensure_ascii=False) + "\n")


def _readme(spec: TrainSpec, edit: str, n_pairs: int, store: Store) -> str:
    words = ["pairtrace", "--workspace", str(store.workspace), "elsewhere", "import"]
    words += ["checkpoint", "--edit", edit, "--seed", str(spec.seed)]
    template = Path(__file__).with_suffix(".md.j2").read_text(encoding="utf-8")
    return Template(template, trim_blocks=True, undefined=StrictUndefined).render(
        spec=spec,
        edit=edit,
        n_pairs=n_pairs,
        settings=SETTINGS,
        import_command=shlex.join(words),
    )
