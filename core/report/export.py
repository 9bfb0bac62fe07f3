"""An arm's pairs as files for other tools, and as a folder to train from on another machine.

Parquet and JSONL hold the pairs as they are; CSV is made safe to open in a spreadsheet; `datasets`
is a folder that Hugging Face's `load_dataset` takes, with a card that carries the provenance.
How the pairs were chosen is taken from the edit run's spec.json.

That folder contains the pairs in the formats of TRL and open-instruct, a script for TRL with every
setting of the train spec, launch settings for accelerate, and a README with commands and
provenance. `pairtrace elsewhere import` takes the trained model folder back. The script is TRL's
own way of doing the same training, and shares no code with ours.
"""

import io
import json
import os
import shlex
import shutil
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pandas as pd
from jinja2 import StrictUndefined, Template

from core.data.canonical import write_pairs
from core.errors import UserError
from core.runs.store import Store
from core.specs.events import Add, Put
from core.specs.project import Project
from core.specs.steps import TrainSpec
from core.storage.atomic import write_atomic
from core.storage.tables import data_frame
from core.workspace.catalog import Catalog

Format = Literal["parquet", "jsonl", "csv", "datasets"]
LAUNCH = Path(__file__).parents[2] / "assets" / "launch"
SETTINGS = ("one_gpu.yaml", "fsdp2.yaml", "deepspeed_zero3.yaml")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def export_pairs(store: Store, run: str, out: Path, *, form: Format) -> Path:
    """Write the pairs of an edit run to `out`, a file (or, for `datasets`, a folder).

    Raises `UserError` where `out` exists: nothing is overwritten.
    """
    if out.exists():
        raise UserError(f"{out} exists already. Choose another name, or delete it first.")
    pairs = data_frame(store.output(run) / "pairs.parquet")
    part = out.with_name(f"{out.name}.{os.getpid()}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        _write(pairs, part, form, store.record(run), decided_by(store, run))
        os.replace(part, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        part.unlink(missing_ok=True)
    return out


def exported(store: Store, run: str, *, form: Format) -> bytes:
    """The same as one file's content, to be downloaded; the `datasets` folder comes as a zip."""
    with TemporaryDirectory() as folder:
        out = export_pairs(store, run, Path(folder) / "edited-pairs", form=form)
        return _zipped(out) if out.is_dir() else out.read_bytes()


def export_training(store: Store, project: Project, edit: str, out: Path, *, seed: int) -> Path:
    """Write the folder of an edit run's arm. `UserError` where `out` exists: nothing is lost."""
    if out.exists():
        raise UserError(f"{out} exists already. Choose another name, or delete it first.")
    pairs = data_frame(store.pairs(edit))
    spec = project.train(edit, seed)
    if spec.explain_away or spec.inoculation:
        raise UserError(
            "project.toml: [train] explain_away and inoculation change the loss and the prompts of "
            "trainings here only. Leave them out to export an arm."
        )
    part = out.with_name(f"{out.name}.{os.getpid()}.part")
    part.mkdir(parents=True)
    try:
        _write_conversations(part, pairs)
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


def formula_safe(pairs: pd.DataFrame) -> pd.DataFrame:
    """The same table with a ' before any text that a spreadsheet would run as a formula."""

    def safe(value: Any) -> Any:
        runs = isinstance(value, str) and value.startswith(FORMULA_STARTS)
        return f"'{value}" if runs else value

    return pairs.map(safe)


def dataset_card(record: dict[str, Any], n_pairs: int, people: Sequence[str] = ()) -> str:
    """README.md of the `datasets` folder: what was done to which pairs, by what, whom, and why."""
    provenance = json.dumps(record, indent=2, ensure_ascii=False)
    whys = [edit["why"] for edit in record["spec"]["edits"] if edit["why"]]
    return (
        "---\n"
        "tags: [preference, dpo, pairtrace]\n"
        "configs:\n- config_name: default\n  data_files: data/*.parquet\n"
        "---\n\n"
        f"# Preference pairs edited with PairTrace\n\n"
        f"{n_pairs} pairs with `prompt`, `chosen`, `rejected`. `flipped` marks pairs whose chosen "
        "and rejected completions were swapped, `weight` (if there is one) is the factor on a "
        "pair's part of the loss.\n\n"
        + "".join(f"- {line}\n" for line in people or whys)
        + f"\n## Provenance\n\n```json\n{provenance}\n```\n"
    )


def _zipped(folder: Path) -> bytes:
    """A zip with no dates in it, so that the same run gives the same bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = f"{folder.name}/{path.relative_to(folder).as_posix()}"
            archive.writestr(zipfile.ZipInfo(name), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return content.getvalue()


def decided_by(store: Store, run: str) -> list[str]:
    """Who put the edits of a run into the cart, when and why; empty where the log knows none."""
    if not (store.workspace / "catalog.sqlite").is_file():
        return []
    wanted = store.record(run)["spec"]["edits"]
    lines = []
    for event in Catalog(store.workspace).events():
        change = event.change
        put = change.edits if isinstance(change, Put) else ()
        put = (change.edit,) if isinstance(change, Add) else put
        for edit in put:
            if edit.model_dump(mode="json") in wanted:
                day = datetime.fromtimestamp(event.time, UTC).date()
                why = edit.why or "no reason given"
                lines.append(f"{edit.action}, by {event.who} on {day}: {why}")
    return lines


def _write(
    pairs: pd.DataFrame, part: Path, form: Format, record: dict[str, Any], people: Sequence[str]
) -> None:
    if form == "csv":
        formula_safe(pairs).to_csv(part, index=False)
    elif form == "datasets":
        (part / "data").mkdir(parents=True)
        write_pairs(pairs, part / "data" / "train-00000-of-00001.parquet")
        write_atomic(part / "README.md", dataset_card(record, len(pairs), people))
    else:
        staged = part.with_name(f"{part.name}.{form}")
        write_pairs(pairs, staged)
        os.replace(staged, part)


def _write_conversations(folder: Path, pairs: pd.DataFrame) -> None:
    """As conversations: for TRL with the prompt separate, for open-instruct in both completions."""
    with (
        (folder / "pairs.jsonl").open("w", encoding="utf-8") as trl,
        (folder / "open_instruct.jsonl").open("w", encoding="utf-8") as open_instruct,
    ):
        columns = ["uid", "prompt", "chosen", "rejected"]
        weights = pairs[["weight"] if "weight" in pairs else []].to_dict("records")
        rows = pairs[columns].itertuples(index=False, name=None)
        for (uid, *texts), weight in zip(rows, weights, strict=True):
            roles = ("user", "assistant", "assistant")
            prompt, chosen, rejected = (
                [{"role": role, "content": text}] for role, text in zip(roles, texts, strict=True)
            )
            row = {"uid": uid, "prompt": prompt, "chosen": chosen, "rejected": rejected, **weight}
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
