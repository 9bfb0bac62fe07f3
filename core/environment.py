"""The process environment: where the workspace is, and how workers use threads and caches.

The one place of the engine that reads or sets environment variables for its processes. It must
run before torch or numba are imported; later changes would not be seen.

What this machine computes on, told by its own files and without torch.

A run that waits in line for a device should not hold what loading torch takes. A GPU is named by
the number of its file, so that processes that may use different ones agree on which is which.
"""

import importlib.util
import os
import platform
import re
import shlex
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from core.errors import UserError

WORKSPACE = "PAIRTRACE_WORKSPACE"
EXECUTOR = "PAIRTRACE_EXECUTOR"
SHARDS = "PAIRTRACE_SHARDS"
LAUNCHER = "PAIRTRACE_LAUNCHER"
DEVICE = "PAIRTRACE_DEVICE"
DEVICES = r"auto|cpu|cuda(:\d+)?|balanced(:\d+[KMG]B)?"
DEVICES_IN_WORDS = "auto, cpu, cuda, cuda:N, balanced or balanced:SIZE (such as balanced:20GB)"
TRUST_CODE = "PAIRTRACE_TRUST_REMOTE_CODE"
TRACKER = "PAIRTRACE_TRACKER"
TRACKERS = ("tensorboard", "trackio")
ROOTS = "PAIRTRACE_ROOTS"
TRUST_NETWORK = "PAIRTRACE_TRUST_NETWORK"


def default_workspace() -> Path:
    """`$PAIRTRACE_WORKSPACE`, or `workspace` in the current folder."""
    return Path(os.environ.get(WORKSPACE, "workspace")).expanduser().resolve()


def roots() -> list[Path]:
    """`$PAIRTRACE_ROOTS`: folders that paths given in the browser may lie in; empty: anywhere."""
    given = os.environ.get(ROOTS, "")
    return [Path(one).expanduser() for one in given.split(os.pathsep) if one]


def trusts_network() -> bool:
    """`$PAIRTRACE_TRUST_NETWORK`: whether something else decides who may reach the app."""
    return os.environ.get(TRUST_NETWORK, "") == "1"


def executor() -> str:
    """`$PAIRTRACE_EXECUTOR`: where index shards are computed: inline, process:N or ray:N."""
    return os.environ.get(EXECUTOR, "inline")


def device() -> str:
    """`$PAIRTRACE_DEVICE`: where models are computed, one of `DEVICES_IN_WORDS`."""
    name = os.environ.get(DEVICE, "auto")
    if not re.fullmatch(DEVICES, name):
        raise UserError(f"${DEVICE} is {name!r}; it is {DEVICES_IN_WORDS}.")
    return name


@contextmanager
def computing_on(place: str) -> Iterator[None]:
    """Let this process, and those it starts, use a device where `$PAIRTRACE_DEVICE` names none."""
    named = DEVICE in os.environ
    os.environ.setdefault(DEVICE, place)
    try:
        yield
    finally:
        if not named:
            del os.environ[DEVICE]


def shards() -> str:
    """`$PAIRTRACE_SHARDS`: a URL under which new indexes keep their shards; empty: with the run."""
    return os.environ.get(SHARDS, "")


def trust_code(asked: bool) -> None:
    """Let this process and its workers run code that comes with a checkpoint, or forbid it.

    Every command says this anew: whatever the environment held before is forgotten.
    """
    os.environ.pop(TRUST_CODE, None)
    if asked:
        os.environ[TRUST_CODE] = "1"


def trusts_code() -> bool:
    """Whether this command line asked for a checkpoint's own code."""
    return os.environ.get(TRUST_CODE) == "1"


def refuse_trust(who: str) -> None:
    """`UserError` where `who`, which outlives the command, would run a checkpoint's own code."""
    if trusts_code():
        raise UserError(
            f"{who} never runs code that comes with a checkpoint: --trust-remote-code holds for a "
            "step that is run in the terminal. Leave the flag out."
        )


def launcher() -> list[str]:
    """`$PAIRTRACE_LAUNCHER` in words: what starts the processes of one training.

    Such as `accelerate launch --config_file FILE`. Empty: one process, started by itself.
    """
    return shlex.split(os.environ.get(LAUNCHER, ""))


def tracker(folder: Path) -> str:
    """`$PAIRTRACE_TRACKER`: who else is told of a training's figures, as TRL names it.

    Nobody where it is not set. tensorboard writes to `folder`. `UserError` for another one, or
    one that is not installed.
    """
    name = os.environ.get(TRACKER, "none")
    if name == "none":
        return name
    if name not in TRACKERS:
        raise UserError(f"${TRACKER} is {name!r}; known are {', '.join(TRACKERS)}.")
    if importlib.util.find_spec(name) is None:
        raise UserError(f"${TRACKER} is {name!r}, which is not installed: pip install {name}.")
    os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(folder))
    return name


def compute_in(precision: str) -> None:
    """Let a training's own arithmetic hold, whatever the settings of its launch say."""
    os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16" if precision == "bfloat16" else "no"


def rank() -> int:
    """Which of the processes of one launch this is (torchrun's `RANK`); 0 where it is alone."""
    return int(os.environ.get("RANK", "0"))


def processes() -> int:
    """How many processes there are in this launch (torchrun's `WORLD_SIZE`)."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def visible_gpus() -> list[str] | None:
    """`$CUDA_VISIBLE_DEVICES`: numbers or UUIDs of the GPUs that may be used; None: all."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return None
    return [name for word in given.split(",") if (name := word.strip()) not in ("", "-1")]


def prepare(
    workspace: Path,
    environment: MutableMapping[str, str] = os.environ,
    *,
    device: str | None = None,
) -> None:
    """Settings every worker needs; what the user has set stays, `device` excepted.

    Threads that wait must sleep: spinning ones collapse on a busy two-core machine. numba's cache
    goes to the workspace, since site-packages may be read-only, under the version of what UMAP's
    code takes in from elsewhere, which numba does not look at. Nothing asks a hub for files.
    """
    taken_in = f"pynndescent-{version('pynndescent')}"
    settings = {
        "OMP_WAIT_POLICY": "PASSIVE",
        "KMP_BLOCKTIME": "0",
        "NUMBA_CACHE_DIR": str(workspace / "cache" / "numba" / taken_in),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_MODULES_CACHE": str(workspace / "cache" / "modules"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TQDM_DISABLE": "1",  # progress.jsonl tells how far a step is
        "TRL_EXPERIMENTAL_SILENCE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    for name, value in settings.items():
        environment.setdefault(name, value)
    environment[WORKSPACE] = str(workspace)
    if device is not None:
        environment[DEVICE] = device


FILES = Path("/dev")
CPU_INFO = Path("/proc/cpuinfo")
CPU = "cpu"


def gpus() -> list[str]:
    """The NVIDIA GPUs that this process may use, in CUDA's order: numbers, or UUIDs."""
    files = [path.name.removeprefix("nvidia") for path in FILES.glob("nvidia[0-9]*")]
    here, visible = sorted(files, key=int), visible_gpus()
    if visible is None or not here:
        return here
    return [here[int(n)] if n.isdigit() and int(n) < len(here) else n for n in visible]


def taken() -> list[str]:
    """The devices that a model of this process is computed on: `cpu`, or some of `gpus()`.

    All of these where the model is spread or several processes share the work.
    """
    chosen, visible = device(), gpus()
    if chosen == CPU or not visible:
        return [CPU]
    if chosen.startswith("balanced") or processes() > 1:
        return visible
    number = int(chosen.partition(":")[2] or 0)
    return visible[number : number + 1] or [chosen]


def processor() -> str:
    """The processor's name where the system tells it, else its kind."""
    lines = CPU_INFO.read_text(encoding="utf-8").splitlines() if CPU_INFO.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
