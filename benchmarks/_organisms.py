"""The organism of a benchmark: the shipped one, a folder, or built from a world file."""

from pathlib import Path

from core.demo.investigation import ORGANISM
from core.demo.organism import build
from core.errors import UserError
from core.organism.world import read_world
from core.runs.progress import Progress


def organism_of(name: str | None, workspace: Path) -> Path:
    """The folder of an organism; that of a world file is built once, in the workspace."""
    if name is None:
        return ORGANISM
    world = Path(name)
    if (world / "truth.parquet").is_file():
        return world
    if world.suffix != ".toml":
        raise UserError(f"{world} is neither an organism folder nor a world file (TOML).")
    folder = workspace / "organisms" / read_world(world).name
    if not (folder / "build.json").is_file():
        build(world, folder, progress=Progress())
    return folder
