"""The command line: `pairtrace <step> …`, one command per step, and a few around them.

Commands of steps are made from their specs (core.runs.commands); inputs that are not given come
from the workspace's project. Parses, prints and exits; computes nothing.
"""

import sys
from pathlib import Path
from typing import Any

import click

from core import environment
from core.attribution.index.layout import verify
from core.cli.arms import adopt, elsewhere, intervene
from core.cli.bench import bench, selftest
from core.cli.demo import app, demo_command, organism
from core.cli.inputs import behavior_command, data, fetch_command, presets_command
from core.cli.judge import judge
from core.cli.runs import runs, show_clusters, show_words
from core.cli.terminal import as_json_option, device_option, print_content, report, run_spec
from core.demo import investigation
from core.errors import UserError, explain
from core.report.export import Format, export_pairs
from core.report.findings import gather
from core.report.html import to_html, to_markdown
from core.runs import commands
from core.runs.progress import Cancelled
from core.runs.store import Store
from core.specs import project
from core.specs.base import Spec, references
from core.specs.steps import STEPS
from core.storage.atomic import write_atomic
from core.workspace import checks, estimates, measurable, presets

JSON_OPTION = click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON object.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--workspace",
    "-w",
    type=click.Path(file_okay=False),
    default=None,
    help=f"Folder of the investigation [default: ${environment.WORKSPACE}, or ./workspace].",
)
@device_option
@click.option(
    "--trust-remote-code",
    is_flag=True,
    help="Run Python code that comes with a checkpoint. Read it first: it can do anything.",
)
@click.option(
    "--trust-judge-code",
    is_flag=True,
    help="Run the Python function that a judge file names. Read it first: it can do anything.",
)
@click.pass_context
def cli(
    context: click.Context,
    workspace: str | None,
    device: str | None,
    trust_remote_code: bool,
    trust_judge_code: bool,
) -> None:
    """Trace a behavior that DPO taught a model back to its preference pairs, and undo it.

    The usual order is init, generate, index, rank, discover, edit, train, evaluate. `demo` does
    all of it on the embedded model organism; `app` shows it in the browser.
    """
    folder = Path(workspace).expanduser().resolve() if workspace else None
    context.obj = Store(folder or environment.default_workspace())
    environment.prepare(context.obj.workspace, device=device)
    environment.trust_code(trust_remote_code, judge=trust_judge_code)


def step_command(spec_type: type[Spec]) -> click.Group:
    """The command of one step; a group, so that a step may have commands of its own."""

    def callback(as_json: bool, **options: Any) -> None:
        context = click.get_current_context()
        if context.invoked_subcommand is None:
            spec = _build(spec_type, options, context.obj, quiet=as_json)
            run = run_spec(spec, context.obj, quiet=as_json)
            if environment.rank() == 0:  # of several processes of one launch, one reports
                report(run, context.obj, as_json=as_json)

    return click.Group(
        spec_type.step,
        callback=callback,
        invoke_without_command=True,
        subcommand_metavar="",
        params=[
            *commands.options(spec_type),
            JSON_OPTION,
        ],
        help=f"{spec_type.__doc__}\n\nInputs that are not given come from the workspace's "
        "project.toml, runs from the newest finished one.",
    )


for _spec_type in STEPS.values():
    cli.add_command(step_command(_spec_type))


cli.commands["discover"].add_command(show_clusters)  # type: ignore[attr-defined]
cli.commands["explain"].add_command(show_words)  # type: ignore[attr-defined]


@cli.commands["index"].command("verify")  # type: ignore[attr-defined]
@click.argument("run", required=False)
@as_json_option
@click.pass_obj
def verify_index(store: Store, run: str | None, as_json: bool) -> None:
    """Check every shard of an index against its checksum [default: the newest index]."""
    run = run or store.newest("index")
    bad = verify(store.output(run))
    print_content({"run": run, "bad_shards": len(bad)}, as_json=as_json)
    if not bad.empty:
        rows = "; ".join(f"{row.file}: {row.problem}" for row in bad.itertuples())
        raise UserError(f"{run}: {len(bad)} bad: {rows}. Delete the run and index again.")


@cli.command()
@click.option("--organism", type=click.Path(file_okay=False), help="Start from an organism folder.")
@click.option("--name", help="Name of the investigation.")
@click.option("--reference", help="Model before DPO: a folder, or a .gguf file.")
@click.option("--policy", help="Model after DPO: a folder, or a .gguf file.")
@click.option("--pairs", help="Preference pairs, JSONL or Parquet.")
@click.option("--prompts", help="Prompts that may show a behavior, JSONL.")
@click.option("--heldout", help="Held-out prompts for evaluation, JSONL.")
@click.option("--judge", help="A world file or judge file (TOML), 'refusal' or 'none'.")
@click.option("--behaviors", help="What to measure: a JSON list of behaviors.")
@click.option(
    "--conditions",
    help="What to send beside each plain prompt: a JSON list of conditions [default: the prompt "
    "with its distractor].",
)
@device_option
@click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    help="Arithmetic of every step [default: bfloat16 on a GPU, float32 elsewhere].",
)
@click.option("--preset", help="Settings of a published post-training; `pairtrace presets` lists.")
@click.option(
    "--compat",
    type=click.Choice(["ours", "paper"]),
    default="ours",
    show_default=True,
    help="With a preset: whose settings, where ours and the paper's differ.",
)
@as_json_option
@click.pass_obj
def init(
    store: Store,
    organism: str | None,
    preset: str | None,
    compat: str,
    as_json: bool,
    device: str | None,
    dtype: str | None,
    **options: str | None,
) -> None:
    """Set up a workspace: for your own models and pairs, or for the embedded organism."""
    dequantised: dict[str, str] = {}
    brings_models = any(options.values()) and not (organism or preset)
    if organism or not (preset or brings_models):
        made = project.load(Path(organism) if organism else investigation.ORGANISM)
    elif preset:
        published = presets.preset(preset)
        named = {name: value for name, value in options.items() if value is not None}
        places = published.places(store.workspace)
        made = project.from_options({"name": preset, **places, **named})
        made = made.model_copy(update={"overrides": presets.overrides(published, compat)})
    else:
        asked = project.from_options(options)
        made = checks.check_project(asked, store.workspace)
        models = {getattr(asked, name): getattr(made, name) for name in checks.MODELS}
        dequantised = {file: folder for file, folder in models.items() if file != folder}
    settings = {"device": device, "dtype": dtype}
    made = made.model_copy(update={name: value for name, value in settings.items() if value})
    warnings = []
    if made.policy:
        warnings += checks.model_warnings(Path(made.reference), Path(made.policy))
    if brings_models and made.behaviors:
        warnings += measurable.measuring_warnings(made)
    for contrast in made.contrasts:
        facts = estimates.contrast_facts(made, contrast)
        warnings += [f"behavior {contrast.name!r}: {line}" for line in facts.warnings]
    path = project.save(made, store.workspace)
    content: dict[str, Any] = {"workspace": str(store.workspace), "project": str(path)}
    notes = {"dequantised": dequantised, "warnings": warnings}
    print_content(content | {name: note for name, note in notes.items() if note}, as_json=as_json)


for _command in (
    *(data, judge, behavior_command, fetch_command, presets_command),
    *(demo_command, app, organism),
    *(intervene, adopt, elsewhere),
    *(runs, selftest, bench),
):
    cli.add_command(_command)


@cli.command()
@click.argument("run")
@click.option("--out", required=True, type=click.Path(), help="File (or folder) to write.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["parquet", "jsonl", "csv", "datasets"]),
    default="parquet",
    show_default=True,
    help="datasets: a folder for Hugging Face, with a card that carries the provenance.",
)
@as_json_option
@click.pass_obj
def export(store: Store, run: str, out: str, form: Format, as_json: bool) -> None:
    """Write the pairs of an edit run for other tools."""
    print_content(
        {"exported": str(export_pairs(store, run, Path(out), form=form))}, as_json=as_json
    )


@cli.command("report")
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="report.html, or .md")
@click.option("--edit", default="", help="Edit that it is about [default: the newest measured].")
@click.option("--author", default="", help="Who signs it [default: who changed something here].")
@as_json_option
@click.pass_obj
def report_command(store: Store, out: str, edit: str, author: str, as_json: bool) -> None:
    """Write one self-contained report, with slides: what changed, why, what retraining did."""
    path = Path(out)
    write = {".html": to_html, ".md": to_markdown}.get(path.suffix)
    if write is None:
        raise UserError(f"{path}: end the name in .html or .md.")
    write_atomic(path, write(gather(store, edit=edit, author=author)))
    print_content({"report": str(path)}, as_json=as_json)


def _build(
    spec_type: type[Spec], options: dict[str, Any], store: Store, *, quiet: bool = True
) -> Spec:
    """The spec, completed from the project and from the newest finished runs.

    The completions of a behavior that is a contrast are collected first, unless they are there.
    """
    defaults: dict[str, Any] = {}
    contrast = None
    if (store.workspace / project.FILE).exists():
        plan = project.load(store.workspace)
        defaults = plan.defaults(spec_type.step)
        usable = {"behavior": plan.traceable(), "behaviors": plan.behaviors}
        for field in usable.keys() & spec_type.model_fields.keys():
            if not (usable[field] or options.get(field)):
                raise UserError(f"pairtrace {spec_type.step}: {plan.unmeasured()}")
        name = options.get("behavior")
        if name and not name.startswith("{"):
            options["behavior"] = plan.behavior(name).model_dump_json()
            contrast = plan.contrast_named(name)
    for name, ref in references(spec_type).items():
        made_below = contrast is not None and name == "generate"
        if ref.kind == "run" and name in STEPS and not (options.get(name) or made_below):
            defaults[name] = store.newest(name)
    if contrast is not None and not options.get("generate"):
        defaults["generate"] = run_spec(plan.contrast(contrast), store, quiet=quiet)
    return commands.build(spec_type, options, defaults)


def main() -> None:
    """Entry point: user errors without a traceback, everything else with one."""
    try:
        cli(standalone_mode=False)
    except (UserError, click.ClickException) as error:
        message = error.format_message() if isinstance(error, click.ClickException) else str(error)
        click.echo(f"Error: {message}", err=True)
        sys.exit(2)
    except (Cancelled, click.Abort):
        click.echo("Cancelled.", err=True)
        sys.exit(130)
    except Exception as error:
        explanation = explain(error)
        if explanation is None:
            raise
        click.echo(f"Error: {explanation}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
