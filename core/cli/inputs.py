"""`pairtrace data`, `behavior`, `fetch`, `presets`: bring the inputs into the workspace."""

import json
import shlex
from pathlib import Path

import click
from pydantic import ValidationError

from core import environment
from core.cli.terminal import as_json_option, bar, print_content, print_table
from core.data.canonical import import_pairs
from core.data.chat import display_text
from core.data.prompts import (
    append_distractors,
    read_prompts,
    read_text_lines,
    split,
    text_columns,
    write_prompts,
)
from core.data.quality import Preview, preview
from core.data.trl_formats import FIELDS
from core.errors import UserError, first_problem
from core.runs.progress import Progress
from core.runs.store import Store
from core.specs import project
from core.specs.behaviors import Contrast
from core.workspace import checks, estimates, presets

WIDTH = 60  # characters of a text in a table


def mapping(words: tuple[str, ...]) -> dict[str, str]:
    """`field=column` words as a mapping. `UserError` names a word that is not of this form."""
    columns = {}
    for word in words:
        field, _, column = word.partition("=")
        if not (field and column):
            raise UserError(f"--map {word!r}: write field=column, such as chosen=preferred.")
        columns[field] = column
    return columns


map_option = click.option(
    "--map",
    "words",
    multiple=True,
    metavar="FIELD=COLUMN",
    help=f"Which column serves a field ({', '.join(FIELDS)}). May be given several times.",
)


@click.group()
def data() -> None:
    """Look at a preference set of any shape, and bring it into the workspace."""


@data.command("preview")
@click.argument("file", type=click.Path(path_type=Path))
@map_option
@click.option("--rows", default=5, show_default=True, help="Rows to look at.")
@as_json_option
def preview_command(file: Path, words: tuple[str, ...], rows: int, as_json: bool) -> None:
    """What the first rows of FILE would become."""
    result = preview(file, mapping(words), rows)
    if as_json:
        content = {
            "columns": result.columns,
            "pairs": json.loads(result.pairs.to_json(orient="records")),
            "skipped": json.loads(result.skipped.to_json(orient="records")),
        }
        click.echo(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        _print_preview(file, result)


@data.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@map_option
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Parquet file to write [default: inputs/pairs.parquet in the workspace].",
)
@as_json_option
@click.pass_obj
def import_command(
    store: Store, file: Path, words: tuple[str, ...], out: Path | None, as_json: bool
) -> None:
    """Copy FILE into one canonical Parquet file, and report its health.

    FILE is .jsonl, .json, .csv (each also .gz), .parquet, .arrow, or a folder of these.
    """
    path = out or store.workspace / "inputs" / "pairs.parquet"
    with bar("import", shown=not as_json) as listen:
        progress, n_rows = Progress(listen=listen), 0

        def tick(rows: int) -> None:
            nonlocal n_rows
            n_rows += rows
            progress(n_rows, 0, "rows read")

        health = import_pairs(file, path, mapping(words), tick=tick)
    summary = health.summary
    counts = {k: v for k, v in summary.items() if as_json or not isinstance(v, list | dict)}
    content = {"pairs": str(path), **counts, "advice": summary["advice"]}
    print_content(content, as_json=as_json)


@data.command("prompts")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--distractors",
    type=click.Path(path_type=Path),
    help="Text file, one distractor per line; every prompt is built with every one.",
)
@click.option("--group", help="Group of all these prompts [default: the file's own].")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="JSONL to write.")
@click.option("--heldout", type=click.Path(dir_okay=False, path_type=Path), help="Second JSONL.")
@click.option("--share", default=0.5, show_default=True, help="Share of the prompts held out.")
@as_json_option
@click.pass_obj
def prompts_command(
    store: Store,
    file: Path,
    distractors: Path | None,
    group: str | None,
    out: Path | None,
    heldout: Path | None,
    share: float,
    as_json: bool,
) -> None:
    """Make the two prompt files of an investigation from FILE (text, YAML, CSV or JSONL).

    One set builds the behavior, the other measures it; they have no prompt in common. Columns
    of text are kept, for conditions to read.
    """
    prompts = read_prompts(file, text_columns(file))
    if group:
        prompts = prompts.assign(group=group)
    if distractors is not None:
        texts = [line.value["prompt"] for line in read_text_lines(distractors)]
        prompts = append_distractors(prompts, texts)
    built, measured = split(prompts, share)
    inputs = store.workspace / "inputs"
    files = {out or inputs / "prompts.jsonl": built, heldout or inputs / "heldout.jsonl": measured}
    for path, rows in files.items():
        write_prompts(rows, path)
    print_content({str(path): len(rows) for path, rows in files.items()}, as_json=as_json)


@click.command("behavior")
@click.argument("name")
@click.option(
    "--examples",
    type=click.Path(dir_okay=False, path_type=Path),
    help="JSONL or CSV: `prompt`, `shows` (a completion that shows it), `lacks` (that does not).",
)
@click.option("--sentence", help='System prompt that asks for it, such as "Answer with flattery."')
@click.option("--opposite", default="", help="Sentence: system prompt of the other side [none].")
@click.option("--flag", default="", help="Sentence: judge's flag; keep only what shows it.")
@click.option("--group", default="", help="Sentence: group of the project's prompts [all].")
@click.option("--description", default="", help="One sentence for people.")
@as_json_option
@click.pass_obj
def behavior_command(
    store: Store,
    name: str,
    examples: Path | None,
    sentence: str | None,
    opposite: str,
    flag: str,
    group: str,
    description: str,
    as_json: bool,
) -> None:
    """Add the behavior NAME to the project, by examples or by a sentence, without a judge.

    `pairtrace rank --behavior NAME` then ranks the pairs for it. A behavior of that name that was
    given so before is replaced.
    """
    store.require_writable()
    plan = project.load(store.workspace)
    try:
        contrast = Contrast(
            name=name,
            examples=str(examples.expanduser().resolve()) if examples else "",
            sentence=sentence or "",
            opposite=opposite,
            flag=flag,
            group=group,
            description=description,
        )
    except ValidationError as error:
        raise UserError(f"behavior {name!r}: {first_problem(error)}.") from error
    plan = checks.with_contrast(plan, contrast)
    facts = estimates.contrast_facts(plan, contrast)
    project.save(plan, store.workspace)
    content = {"behavior": name, "prompts": facts.prompts, "completions_sampled": facts.sampled}
    content |= {"warnings": facts.warnings} if facts.warnings else {}
    print_content(
        content | {"next": f"pairtrace rank --behavior {shlex.quote(name)}"}, as_json=as_json
    )


@click.command("fetch")
@click.argument("name")
@click.option("--revision", required=True, help="Full commit hash (40 digits), never a branch.")
@click.option("--dataset", "kind", flag_value="dataset", help="It is a data set, not a model.")
@click.option("--model", "kind", flag_value="model", default=True, help="It is a model [default].")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write [default: inputs/NAME in the workspace].",
)
@as_json_option
@click.pass_obj
def fetch_command(
    store: Store, name: str, revision: str, kind: str, out: Path | None, as_json: bool
) -> None:
    """Fetch a model or data set from the Hugging Face hub, at one commit.

    The only command that asks another machine for anything that was not configured. Weights come
    as safetensors only; pickles are never fetched, code only with `pairtrace --trust-remote-code`.
    """
    from core.models.hub import fetch

    folder = fetch(
        "dataset" if kind == "dataset" else "model",
        name,
        revision,
        out or store.workspace / "inputs" / name.rpartition("/")[2],
        code=environment.trusts_code(),
    )
    (folder / "pairtrace-origin.txt").write_text(f"{kind} {name} {revision}\n", encoding="utf-8")
    print_content({"fetched": str(folder)}, as_json=as_json)


@click.command("presets")
@click.argument("name", required=False)
@as_json_option
def presets_command(name: str | None, as_json: bool) -> None:
    """Published post-trainings with their settings, and where the paper's differ from ours."""
    chosen = [presets.preset(name)] if name else list(presets.PRESETS.values())
    if as_json:
        content = {p.name: {**vars(p), "paper": presets.overrides(p, "paper")} for p in chosen}
        click.echo(json.dumps(content, indent=2))
        return
    for preset in chosen:
        rows = [(what, *place) for what, place in preset.repositories().items()]
        title = f"{preset.name}: layer {preset.layer} of {preset.blocks}"
        print_table(title, ("", "kind", "name"), rows)
        click.echo(f"{preset.note}\n")
    if name:
        for kind, repository in chosen[0].repositories().values():
            click.echo(f"pairtrace fetch {repository} --{kind} --revision COMMIT")
        click.echo(
            f"pairtrace init --preset {name} --prompts FILE --heldout FILE --judge JUDGE …\n"
        )
    columns = ("", "ours", "the paper's (--compat paper, where it can be set)")
    print_table("Where we differ", columns, presets.DIFFERENCES)


def _print_preview(file: Path, result: Preview) -> None:
    click.echo(f"columns: {', '.join(result.columns)}")
    names = ("uid", "prompt", "chosen", "rejected", "source")
    rows = [[_short(pair[name]) for name in names] for _, pair in result.pairs.iterrows()]
    print_table(str(file), names, rows)
    if not result.skipped.empty:
        skipped = result.skipped[["row", "field", "reason"]].to_numpy().tolist()
        print_table("left out", ("row", "field", "reason"), skipped)


def _short(text: object) -> str:
    line = " ".join(display_text(str(text)).split())
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
