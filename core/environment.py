"""The environment: variables, settings of child processes, and the devices of this machine.

The only module that reads or sets environment variables. `prepare` must run before torch or numba
are imported, which do not see later changes. Devices are read from the system's files, without
torch, so a run that waits for a device does not use torch's memory; a GPU is named by the number of
its file, so processes with different visible GPUs use the same names.
"""

import importlib.util
import os
import platform
import re
import shlex
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from core.errors import UserError

WORKSPACE = "PAIRTRACE_WORKSPACE"
WORKSPACES = "PAIRTRACE_WORKSPACES"
CACHE = "PAIRTRACE_CACHE"
EXECUTOR = "PAIRTRACE_EXECUTOR"
SHARDS = "PAIRTRACE_SHARDS"
LAUNCHER = "PAIRTRACE_LAUNCHER"
DEVICE = "PAIRTRACE_DEVICE"
DEVICES = r"auto|cpu|cuda(:\d+)?|balanced(:\d+[KMG]B)?"
DEVICES_IN_WORDS = "auto, cpu, cuda, cuda:N, balanced or balanced:SIZE (such as balanced:20GB)"
TRUST_CODE = "PAIRTRACE_TRUST_REMOTE_CODE"
TRUST_JUDGE = "PAIRTRACE_TRUST_JUDGE_CODE"
TRACKER = "PAIRTRACE_TRACKER"
TRACKERS = ("tensorboard", "trackio")
ROOTS = "PAIRTRACE_ROOTS"
TRUST_NETWORK = "PAIRTRACE_TRUST_NETWORK"
ENDPOINT_URL = "PAIRTRACE_ENDPOINT_URL"
ENDPOINT_MODEL = "PAIRTRACE_ENDPOINT_MODEL"
ENDPOINT_KEY = "PAIRTRACE_ENDPOINT_KEY"
FILES = Path("/dev")
CPU_INFO = Path("/proc/cpuinfo")
CPU = "cpu"

# -- variables that users set ------------------------------------------------------------


def default_workspace() -> Path:
    """`$PAIRTRACE_WORKSPACE`, or `workspace` in the current folder."""
    return Path(os.environ.get(WORKSPACE, "workspace")).expanduser().resolve()


def workspaces() -> list[Path]:
    """`$PAIRTRACE_WORKSPACES`: those that the app serves, the first being where it starts."""
    paths = os.environ.get(WORKSPACES, "").split(os.pathsep)
    return [Path(path) for path in paths if path] or [default_workspace()]


def serve_workspaces(folders: Sequence[Path]) -> None:
    """Set the workspaces that this process's app serves."""
    os.environ[WORKSPACES] = os.pathsep.join(map(str, folders))
    os.environ[WORKSPACE] = str(folders[0])


def model_cache() -> Path:
    """`$PAIRTRACE_CACHE`, or `~/.cache/pairtrace`: models that several workspaces share."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get(CACHE) or f"{base}/pairtrace").expanduser().resolve()


def roots() -> list[Path]:
    """`$PAIRTRACE_ROOTS`: folders that paths from the browser must be in; empty: anywhere."""
    paths = os.environ.get(ROOTS, "").split(os.pathsep)
    return [Path(path).expanduser() for path in paths if path]


def trusts_network() -> bool:
    """`$PAIRTRACE_TRUST_NETWORK`: whether something else restricts who can reach the app."""
    return os.environ.get(TRUST_NETWORK, "") == "1"


def endpoint_url() -> str:
    """`$PAIRTRACE_ENDPOINT_URL`: the default endpoint of language models; empty: none."""
    return os.environ.get(ENDPOINT_URL, "")


def endpoint_model() -> str:
    """`$PAIRTRACE_ENDPOINT_MODEL`: the default model at the endpoint; empty: none."""
    return os.environ.get(ENDPOINT_MODEL, "")


def endpoint_key() -> str:
    """`$PAIRTRACE_ENDPOINT_KEY`: the key of the endpoint, never written anywhere."""
    return os.environ.get(ENDPOINT_KEY, "").strip()


def executor() -> str:
    """`$PAIRTRACE_EXECUTOR`: where index shards are computed: inline, process:N or ray:N."""
    return os.environ.get(EXECUTOR, "inline")


def threads() -> int:
    """`$OMP_NUM_THREADS`: threads of a computation; without it, one per core."""
    number = os.environ.get("OMP_NUM_THREADS", "")
    return int(number) if number.isdigit() and int(number) else os.cpu_count() or 1


def shards() -> str:
    """`$PAIRTRACE_SHARDS`: a URL for the shards of new indexes; empty: in the run's folder."""
    return os.environ.get(SHARDS, "")


def device() -> str:
    """`$PAIRTRACE_DEVICE`: where models are computed, one of `DEVICES_IN_WORDS`."""
    name = os.environ.get(DEVICE, "auto")
    if not re.fullmatch(DEVICES, name):
        raise UserError(f"${DEVICE} is {name!r}; it is {DEVICES_IN_WORDS}.")
    return name


@contextmanager
def computing_on(default: str) -> Iterator[None]:
    """Set the device of this process and its children, unless `$PAIRTRACE_DEVICE` is set."""
    is_set = DEVICE in os.environ
    os.environ.setdefault(DEVICE, default)
    try:
        yield
    finally:
        if not is_set:
            del os.environ[DEVICE]


def launcher() -> list[str]:
    """`$PAIRTRACE_LAUNCHER` as words: the command that starts the processes of a training or index.

    Such as `accelerate launch --config_file FILE`. Empty: a single process.
    """
    return shlex.split(os.environ.get(LAUNCHER, ""))


def tracker(folder: Path) -> str:
    """`$PAIRTRACE_TRACKER`: the experiment tracker of a training, as TRL names it, or none.

    tensorboard writes to `folder`. `UserError` for one that is unknown or not installed.
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


# -- code of checkpoints and of judges: allowed by the command line only -----------------


def trust_code(checkpoint: bool = False, *, judge: bool = False) -> None:
    """Allow or forbid this process and its children to run a checkpoint's, a judge's own code.

    Every command and the app call this, so an inherited variable has no effect.
    """
    for name, allowed in ((TRUST_CODE, checkpoint), (TRUST_JUDGE, judge)):
        os.environ.pop(name, None)
        if allowed:
            os.environ[name] = "1"


def trusts_code() -> bool:
    """Whether this command may run a checkpoint's own code."""
    return os.environ.get(TRUST_CODE) == "1"


def trusts_judge_code() -> bool:
    """Whether this command may run the Python function of a judge file."""
    return os.environ.get(TRUST_JUDGE) == "1"


def refuse_trust(who: str) -> None:
    """`UserError` where `who`, which outlives the command, would run anybody's own code."""
    for allowed, code, flag in (
        (trusts_code(), "code that comes with a checkpoint", "--trust-remote-code"),
        (trusts_judge_code(), "the code of a judge", "--trust-judge-code"),
    ):
        if allowed:
            raise UserError(
                f"{who} never runs {code}: {flag} is for a step that is run in the terminal. Leave "
                "the flag out."
            )


# -- child processes ---------------------------------------------------------------------


def prepare(
    workspace: Path,
    environment: MutableMapping[str, str] = os.environ,
    *,
    device: str | None = None,
) -> None:
    """Set what every process of ours needs; the user's own values stay, except for `device`.

    Waiting threads must sleep: spinning ones collapse on a busy two-core machine. numba's cache is
    in the workspace, since site-packages may be read-only, in a folder for the version of
    pynndescent, which numba does not check. Nothing contacts a hub.
    """
    compiled = "pynndescent"
    with suppress(PackageNotFoundError):  # a machine for models alone needs no maps
        compiled += f"-{version('pynndescent')}"
    settings = {
        "OMP_WAIT_POLICY": "PASSIVE",
        "KMP_BLOCKTIME": "0",
        "NUMBA_CACHE_DIR": str(workspace / "cache" / "numba" / compiled),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_MODULES_CACHE": str(workspace / "cache" / "modules"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TQDM_DISABLE": "1",  # progress.jsonl has the progress
        "TRL_EXPERIMENTAL_SILENCE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    for name, value in settings.items():
        environment.setdefault(name, value)
    environment[WORKSPACE] = str(workspace)
    if device is not None:
        environment[DEVICE] = device


def prepared(workspace: Path) -> dict[str, str]:
    """A copy of the environment, prepared for a job."""
    environment = dict(os.environ)
    prepare(workspace, environment)
    return environment


def compute_in(precision: str) -> None:
    """Set a training's arithmetic, whatever the settings of its launcher say."""
    os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16" if precision == "bfloat16" else "no"


def rank() -> int:
    """The number of this process in its launch (torchrun's `RANK`); 0 if it is alone."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """The number of this process among those of its launch on this machine (`LOCAL_RANK`)."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def processes() -> int:
    """The number of processes in this launch (torchrun's `WORLD_SIZE`)."""
    return int(os.environ.get("WORLD_SIZE", "1"))


# -- devices of this machine -------------------------------------------------------------


def gpus() -> list[str]:
    """The NVIDIA GPUs that this process may use, in CUDA's order: numbers, or UUIDs."""
    names = (path.name.removeprefix("nvidia") for path in FILES.glob("nvidia[0-9]*"))
    numbers, visible = sorted(names, key=int), _visible_gpus()
    if visible is None or not numbers:
        return numbers
    return [numbers[int(n)] if n.isdigit() and int(n) < len(numbers) else n for n in visible]


def _visible_gpus() -> list[str] | None:
    """`$CUDA_VISIBLE_DEVICES`: numbers or UUIDs; None: all GPUs."""
    names = os.environ.get("CUDA_VISIBLE_DEVICES")
    if names is None:
        return None
    return [name for part in names.split(",") if (name := part.strip()) not in ("", "-1")]


def taken() -> list[str]:
    """The devices that a model of this process uses: `cpu`, or some of `gpus()`.

    All of these if the model is split over GPUs or several processes share the work.
    """
    chosen, visible = device(), gpus()
    if chosen == CPU or not visible:
        return [CPU]
    if chosen.startswith("balanced") or processes() > 1:
        return visible
    number = int(chosen.partition(":")[2] or 0)
    return visible[number : number + 1] or [chosen]


def processor() -> str:
    """The processor's name if the system has one, else its architecture."""
    lines = CPU_INFO.read_text(encoding="utf-8").splitlines() if CPU_INFO.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
