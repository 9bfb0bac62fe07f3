"""The organism of a benchmark: a shipped one, a folder, or built from a world file."""

from pathlib import Path

from core.demo.investigation import ORGANISM, SMOLLM2
from core.demo.organism import build
from core.errors import UserError
from core.models import gguf
from core.organism.world import read_world
from core.runs.progress import Progress


def organism_of(name: str | None, workspace: Path) -> Path:
    """The folder of an organism; that of a world file is built once, in the workspace.

    `smollm2` puts the model into the cache first. `UserError` says how to install its package.
    """
    if name is None:
        return ORGANISM
    if name == SMOLLM2.name:
        gguf.smollm2()
        return SMOLLM2
    world = Path(name)
    if (world / "truth.parquet").is_file():
        return world
    if world.suffix != ".toml":
        raise UserError(f"{world} is neither an organism folder nor a world file (TOML).")
    folder = workspace / "organisms" / read_world(world).name
    if not (folder / "build.json").is_file():
        build(world, folder, progress=Progress())
    return folder
