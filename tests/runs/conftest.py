import pytest

from core.runs.store import Store
from core.specs.recipes import EditSpec


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "workspace")


@pytest.fixture
def pairs_file(tmp_path):
    rows = [
        {"uid": f"u{i}", "prompt": f"p{i}", "chosen": "a b", "rejected": "c", "source": "s"}
        for i in range(6)
    ]
    import json

    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def edit_spec(pairs_file):
    recipe = {"kind": "where", "column": "uid", "values": ["u1", "u3"]}
    return EditSpec(pairs=str(pairs_file), edits=[{"action": "remove", "recipe": recipe}])


@pytest.fixture
def model_folder(store):
    """A folder that has a fingerprint; nothing reads its weights before the device is free."""
    folder = store.workspace / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder
