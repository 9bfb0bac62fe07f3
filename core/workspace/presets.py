"""Presets: published post-trainings as settings of a project.

Repositories are only named here; `pairtrace fetch` fetches them at a chosen commit. `PAPER` has the
settings of arXiv 2602.11079 that differ from ours, `DIFFERENCES` all differences in words.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import UserError

Overrides = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Preset:
    """Where checkpoints and pairs are published, and the settings for them."""

    name: str
    reference: str
    policy: str
    pairs: str
    layer: int
    blocks: int
    overrides: Overrides
    note: str

    def repositories(self) -> dict[str, tuple[str, str]]:
        """Role → kind and repository of what to fetch."""
        return {
            "reference": ("model", self.reference),
            "policy": ("model", self.policy),
            "pairs": ("dataset", self.pairs),
        }

    def places(self, workspace: Path) -> dict[str, str]:
        """Role → folder in a workspace that `pairtrace fetch` writes."""
        return {
            name: str(workspace / "inputs" / repository.rpartition("/")[2])
            for name, (_, repository) in self.repositories().items()
        }


def _overrides(layer: int, **train: Any) -> Overrides:
    return {
        "index": {"layers": [layer]},
        "rank": {"layer": layer},
        "discover": {"layer": layer},
        "generate": {"max_new_tokens": 512},
        "evaluate": {"max_new_tokens": 512},
        "train": train,
    }


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            name="olmo2-7b",
            reference="allenai/OLMo-2-1124-7B-SFT",
            policy="allenai/OLMo-2-1124-7B-DPO",
            pairs="allenai/olmo-2-1124-7b-preference-mix",
            layer=20,
            blocks=32,
            overrides=_overrides(20, preset="olmo2"),
            note="The paper's setting: 378,341 pairs, layer 20 of 32.",
        ),
        Preset(
            name="tulu3-8b",
            reference="allenai/Llama-3.1-Tulu-3-8B-SFT",
            policy="allenai/Llama-3.1-Tulu-3-8B-DPO",
            pairs="allenai/llama-3.1-tulu-3-8b-preference-mixture",
            layer=20,
            blocks=32,
            overrides=_overrides(20, preset="olmo2", learning_rate=5e-7),
            note="Layer 20 is OLMo 2's; check it on the Behaviors page.",
        ),
        Preset(
            name="olmo3-7b",
            reference="allenai/Olmo-3-7B-Instruct-SFT",
            policy="allenai/Olmo-3-7B-Instruct-DPO",
            pairs="allenai/Dolci-Instruct-DPO",
            layer=20,
            blocks=32,
            overrides=_overrides(20, preset="olmo2"),
            note=(
                "The recipe is OLMo 2's, not the published one. Sycophancy there is diffuse: "
                "removing the top 60,000 pairs did nothing."
            ),
        ),
    )
}

PAPER: Overrides = {
    "generate": {"rollouts": 100, "temperature": 0.7},
    "rank": {"method": "similarity", "pooling": "rollouts"},
}
DIFFERENCES = (
    ("order of the pairs", "gated discriminant: direction × context", "cosine of pooled vectors"),
    ("pooling", "every prompt weighs the same", "every rollout weighs the same"),
    ("rollouts per prompt", "8", "100"),
    ("unscored completions", "left out and counted", "counted as safe"),
    ("intervals", "by prompt, and training seeds as the unit", "by rollout"),
    ("random control", "same size, sources and action", "same size"),
)


def preset(name: str) -> Preset:
    """The preset of that name."""
    if name not in PRESETS:
        raise UserError(f"{name!r} is not a preset. Known: {', '.join(PRESETS)}.")
    return PRESETS[name]


def overrides(chosen: Preset, compat: str) -> Overrides:
    """The preset's settings per step; with `compat` "paper" the paper's where they differ."""
    if compat != "paper":
        return chosen.overrides
    return {
        step: {**chosen.overrides.get(step, {}), **PAPER.get(step, {})}
        for step in {**chosen.overrides, **PAPER}
    }
