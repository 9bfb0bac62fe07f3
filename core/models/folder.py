"""A model folder: its settings, its weights and, of a low-rank adapter, its base.

An adapter is what peft saves: `adapter_config.json`, which names its base, and
`adapter_model.safetensors`. It may take the place of any model: it is read as its base with the
updates added. The base must be on this machine; a name as on a hub is also looked up beside the
adapter, where `pairtrace fetch` puts both, and then in the user's cache, where SmolLM2 is
(core.models.smollm2).

Quantised checkpoints are refused: their activations and gradients are not those of the model that
was trained, and the library would turn some of them back into floats silently. Loads no weights
(core.models.loading), but for a sample that tells whether two models are relatives.
"""

import math
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import TemplateError

from core import environment
from core.errors import UserError
from core.storage.parse import from_json, json_file

TEMPLATE = "chat_template.jinja"
CONFIG, ADAPTER_CONFIG = "config.json", "adapter_config.json"
UPDATES = "adapter_model.safetensors"
WEIGHTS = ".safetensors"
BASE = "base_model_name_or_path"
BASE_MODEL = re.compile(r"(?m)^base_model:\s*(?:-\s*)?[\"']?([^\s\"']+)")  # in a model card
CARD = 4_000  # characters of it
SMOLLM2 = "smollm2"  # the one model that has a command to put it into the cache
# where the tools that quantise say so: a key of config.json ("quantization" is MLX's), or a file
QUANTISED_KEYS = ("quantization_config", "compression_config", "quantization")
QUANTISED_FILES = ("quantize_config.json", "quant_config.json", "hf_quant_config.json")
METHODS = ("quant_method", "quant_algo", "mode")
SAMPLE = 1 << 16  # weights
FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}  # safetensors' names


@dataclass(frozen=True)
class ModelFolder:
    """A folder with a model or an adapter. Each file is read when it is first needed, once."""

    path: Path

    @classmethod
    def of(cls, folder: "Path | str | ModelFolder") -> "ModelFolder":
        """The record of a folder; a record is its own."""
        return folder if isinstance(folder, ModelFolder) else cls(Path(folder))

    @cached_property
    def is_adapter(self) -> bool:
        """Whether it contains low-rank updates and no model of its own."""
        return self._has(ADAPTER_CONFIG) and not self._has(CONFIG)

    @cached_property
    def base(self) -> "ModelFolder":
        """The model that an adapter's updates are for; of a model, the model itself.

        A relative path starts at the adapter; `owner/NAME`, as on a hub, is also `NAME` beside it,
        and `NAME` in the user's cache.
        Raises `UserError` where the base is not on this machine, is an adapter itself, or where
        the updates are not safetensors.
        """
        if not self.is_adapter:
            return self
        if not self._has(UPDATES):
            raise UserError(f"{self.path}: has no {UPDATES}. Other formats are not loaded.")
        config = json_file(self.path / ADAPTER_CONFIG)
        name = str((config.get(BASE) if isinstance(config, dict) else None) or "")
        last = name.rpartition("/")[2]
        for path in (self.path / name, self.path.parent / last, environment.model_cache() / last):
            if name and ModelFolder(path)._has(CONFIG):
                return ModelFolder(path.resolve())
        if name == SMOLLM2:
            raise UserError(
                f"{self.path}: its base SmolLM2 is not in {environment.model_cache()} yet. Run "
                "`pairtrace organism smollm2`, which says what it needs."
            )
        raise UserError(
            f"{self.path}: its base {name[:300]!r} is not a model folder on this machine. Set "
            f"{BASE} in {ADAPTER_CONFIG} to the reference's folder, if that is what it was trained "
            "from, or put the base beside the adapter under the last part of its name."
        )

    @cached_property
    def config(self) -> dict[str, Any]:
        """The content of the base's config.json.

        Raises `UserError` where it is missing or damaged, or says that the weights are quantised.
        """
        folder = self.base.path
        if not self.base._has(CONFIG):
            raise UserError(f"{folder}: not a model folder ({CONFIG} is missing).")
        config = _table(folder / CONFIG)
        for part in (config, config.get("text_config")):
            for key in QUANTISED_KEYS:
                if isinstance(part, dict) and part.get(key) is not None:
                    raise _quantised(folder / CONFIG, f"{key} says", part[key])
        for name in QUANTISED_FILES:
            if self.base._has(name):
                raise _quantised(folder / name, "it says", None)
        return config

    @cached_property
    def weights(self) -> list[Path]:
        """The folder's own files of weights, by name; at least one."""
        files = sorted(file for file in self.path.iterdir() if file.suffix == WEIGHTS)
        if not files:
            raise UserError(f"{self.path}: has no {WEIGHTS} weights. Other formats are not loaded.")
        return files

    @cached_property
    def names_code(self) -> bool:
        """Whether its settings say that Python code in the folder belongs to the model."""
        settings = (self.path / name for name in (CONFIG, "tokenizer_config.json"))
        return any(b'"auto_map"' in path.read_bytes() for path in settings if path.is_file())

    @cached_property
    def has_tokenizer(self) -> bool:
        """Whether the folder itself contains a tokenizer."""
        return self._has("tokenizer.json") or self._has("tokenizer.model")

    @cached_property
    def has_chat_template(self) -> bool:
        """Whether the folder itself contains a chat template, in either of its two places."""
        return bool(self.chat_template)

    @cached_property
    def chat_template(self) -> str:
        """The chat template that the folder itself contains; "" without one."""
        if self._has(TEMPLATE):
            return (self.path / TEMPLATE).read_text(encoding="utf-8", errors="replace")
        path = self.path / "tokenizer_config.json"
        template = _table(path).get("chat_template") if path.is_file() else None
        if isinstance(template, list):  # several, each with its name
            named = {each.get("name"): each for each in template if isinstance(each, dict)}
            template = named.get("default", {}).get("template")
        return template if isinstance(template, str) else ""

    def begins_with(self, other: "ModelFolder") -> bool:
        """Whether an adapter's updates begin with another's of the same base, as if joined."""
        if not (self.is_adapter and other.is_adapter and self.base.path == other.base.path):
            return False
        ours, theirs = _matrices(self), _matrices(other)
        first = {name: _sample(*part) for name, part in theirs.items() if ".lora_A." in name}
        return all(
            name in ours and np.array_equal(_sample(*ours[name])[: len(rows)], rows)
            for name, rows in first.items()
        )

    @cached_property
    def card(self) -> str:
        """The beginning of the model card, README.md; "" without one."""
        try:
            with (self.path / "README.md").open(encoding="utf-8", errors="replace") as stream:
                return stream.read(CARD)
        except OSError:
            return ""

    def was_trained_from(self, other: Path) -> bool:
        """Whether its files name another folder as the model that it was trained from.

        They do so as an adapter's base, as `_name_or_path` of config.json, or as `base_model` of
        the model card: by a path, or by a name as on a hub, whose last part is the folder's.
        """
        if self.is_adapter:
            return self.base.path.resolve() == other.resolve()
        config = self.config.get("_name_or_path") if self._has(CONFIG) else None
        return any(
            Path(name).resolve() == other.resolve()
            or (Path(name).name == other.name != self.path.name and not Path(name).is_absolute())
            for name in (config, *BASE_MODEL.findall(self.card))
            if isinstance(name, str) and name and name.isprintable()
        )

    def _has(self, name: str) -> bool:
        try:
            return (self.path / name).is_file()
        except (OSError, ValueError):  # a name that no file can have
            return False


def check_takes_system_prompts(folder: Path) -> None:
    """`UserError` where a model's chat template refuses system prompts, drops them, or writes them
    as turns of the assistant."""
    from transformers.utils.chat_template_utils import render_jinja_template

    model = ModelFolder(folder)
    template = model.chat_template or model.base.chat_template

    def written(*roles: str) -> str:
        turns = [{"role": role, "content": f"probe-{role == 'user'}"} for role in roles]
        tokens: Any = dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), "")
        rendered: Any = render_jinja_template(
            conversations=[turns], chat_template=template, add_generation_prompt=True, **tokens
        )
        return str(rendered[0][0])

    try:
        written("user")
    except (TemplateError, TypeError, ValueError):
        return  # what it needs is not known here
    try:
        text, problem = written("system", "user"), ""
    except (TemplateError, TypeError, ValueError) as error:
        text, problem = "", f"refuses them ({str(error)[:200]})"
    if not problem and "probe-False" not in text:
        problem = "leaves them out"
    with suppress(TemplateError, TypeError, ValueError):
        if not problem and written("assistant", "user") == text:
            problem = "writes them as turns of the assistant"
    if problem:
        raise UserError(
            f"{folder}: its chat template does not take system prompts: it {problem}. Leave out "
            "the conditions with `system`, give the text as `prefix` instead, or use another "
            "chat template."
        )


def similarity(left: ModelFolder, right: ModelFolder) -> float:
    """Cosine between the first `SAMPLE` weights of a matrix in the middle of two models, [−1, 1].

    Near 1 for a model and its child, near 0 for models that were trained apart. NaN where no matrix
    has the same name and shape in both. Raises `UserError` for files that are damaged.
    """
    ours, theirs = _matrices(left), _matrices(right)
    shared = sorted(
        name for name in ours.keys() & theirs.keys() if ours[name][3] == theirs[name][3]
    )
    if not shared:
        return math.nan
    name = shared[len(shared) // 2]
    a, b = _sample(*ours[name]), _sample(*theirs[name])
    with np.errstate(invalid="ignore"):
        return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def _matrices(model: ModelFolder) -> dict[str, tuple[Path, int, str, list[int]]]:
    """File, offset, type and shape of each matrix of floats, by name, from the files' headers."""
    matrices = {}
    for file in model.weights:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            try:
                header = from_json(stream.read(min(length, file.stat().st_size)).decode())
                parts = {name: part for name, part in header.items() if name != "__metadata__"}
                ends = [8 + length + part["data_offsets"][1] for part in parts.values()]
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise UserError(f"{file}: not safetensors, or damaged. Copy it again.") from error
        if (size := file.stat().st_size) != max(ends, default=0):
            raise UserError(
                f"{file}: has {size:,} of {max(ends, default=0):,} bytes. Copy it again."
            )
        for name, part in parts.items():
            if len(part["shape"]) == 2 and part["dtype"] in FLOATS:
                place = 8 + length + part["data_offsets"][0]
                matrices[name] = (file, place, part["dtype"], part["shape"])
    return matrices


def _sample(file: Path, offset: int, kind: str, shape: list[int]) -> np.ndarray:
    count = min(SAMPLE, math.prod(shape))
    values = np.fromfile(file, FLOATS[kind], count, offset=offset)
    if kind == "BF16":  # the upper half of a float32
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float64)


def _table(path: Path) -> dict[str, Any]:
    content = json_file(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: not readable: it is no JSON object.")
    return content


def _quantised(path: Path, who: str, settings: Any) -> UserError:
    values = [settings.get(name) for name in METHODS] if isinstance(settings, dict) else []
    method = next((f" ({str(value)[:40]})" for value in values if value), "")
    return UserError(
        f"{path}: {who} that the weights are quantised{method}. Such checkpoints are not read: "
        "their activations are not those of the model that was trained. Use the checkpoint they "
        "were made from, whose weights are bfloat16, float16 or float32, and choose the arithmetic "
        "with --dtype."
    )
