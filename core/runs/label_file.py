"""Names, marks, notes and selections as a JSON file, and the changes that bring them elsewhere.

Merges and splits are shown in a file but not brought: they are another log's history.
"""

import json
import reprlib
from typing import Any

from pydantic import ValidationError

from core.data.notation import from_json
from core.errors import UserError
from core.runs.changes import Change, Mark, Name, Note, Save
from core.runs.labels import Labels, State


def exported(state: State) -> str:
    """Every cluster that anyone said something about, and the saved selections, as JSON."""
    runs = {run: _described(labels) for run, labels in sorted(state.labels.items())}
    saved = {name: recipe.model_dump(mode="json") for name, recipe in state.selections.items()}
    content = {"labels": runs, "selections": saved}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def imported(text: str) -> list[Change]:
    """The changes that give another log the names, marks, notes and selections of an export."""
    changes: list[Change] = []
    try:
        content = from_json(text)
        json.dumps(content, ensure_ascii=False).encode()  # half a letter cannot be kept
        for name, recipe in content.get("selections", {}).items():
            changes.append(Save(name=name, recipe=recipe))
        for run, clusters in content["labels"].items():
            for cluster, said in clusters.items():
                where = {"discover": run, "cluster": int(cluster)}
                if said.get("name"):
                    changes.append(Name(**where, name=said["name"]))
                if said.get("mark"):
                    changes.append(Mark(**where, mark=said["mark"]))
                changes += [Note(**where, text=note) for note in _list(said.get("notes"))]
    except (ValidationError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = reprlib.repr(str(error).partition("\n")[0])
        raise UserError(
            f"These are not labels that PairTrace exported ({reason}). Export them as JSON and "
            "bring that file."
        ) from error
    return changes


def _described(labels: Labels) -> dict[str, dict[str, Any]]:
    return {
        str(cluster): {
            "name": labels.names.get(cluster),
            "mark": labels.marks.get(cluster),
            "notes": [note.text for note in labels.notes.get(cluster, ())],
            "recipe": labels.recipe(cluster).model_dump(mode="json"),
        }
        for cluster in labels.touched()
    }


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list | None):
        raise TypeError(f"notes are a {type(value).__name__}, not a list")
    return value or []
