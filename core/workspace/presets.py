"""Published post-trainings that people investigate, as settings of a project.

Repositories are named, never fetched from here: `pairtrace fetch` does that, at a commit that
somebody chose. Where our settings and the paper's (arXiv 2602.11079) differ, both are written down;
`knobs(…, "paper")` takes the paper's.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import UserError

Knobs = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Preset:
    """Where checkpoints and pairs are published, and how to read them."""

    name: str
    reference: str
    policy: str
    pairs: str
    layer: int
    blocks: int
    knobs: Knobs
    note: str

    def repositories(self) -> dict[str, tuple[str, str]]:
        """What to fetch: our name for it; its kind and repository."""
        return {
            "reference": ("model", self.reference),
            "policy": ("model", self.policy),
            "pairs": ("dataset", self.pairs),
        }

    def places(self, workspace: Path) -> dict[str, str]:
        """Where `pairtrace fetch` puts them in a workspace."""
        return {
            name: str(workspace / "inputs" / repository.rpartition("/")[2])
            for name, (_, repository) in self.repositories().items()
        }


def _knobs(layer: int, train: dict[str, Any]) -> Knobs:
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
            knobs=_knobs(20, {"preset": "olmo2"}),
            note="The paper's setting: 378,341 pairs, layer 20 of 32.",
        ),
        Preset(
            name="tulu3-8b",
            reference="allenai/Llama-3.1-Tulu-3-8B-SFT",
            policy="allenai/Llama-3.1-Tulu-3-8B-DPO",
            pairs="allenai/llama-3.1-tulu-3-8b-preference-mixture",
            layer=20,
            blocks=32,
            knobs=_knobs(
                20,
                {
                    "preset": "olmo2",
                    "loss_type": "sigmoid_norm",
                    "beta": 5.0,
                    "learning_rate": 5e-7,
                    "batch_size": 128,
                },
            ),
            note="Layer 20 is taken over from OLMo 2; check it on the Behaviors page.",
        ),
        Preset(
            name="olmo3-7b",
            reference="allenai/Olmo-3-7B-Instruct-SFT",
            policy="allenai/Olmo-3-7B-Instruct-DPO",
            pairs="allenai/Dolci-Instruct-DPO",
            layer=20,
            blocks=32,
            knobs=_knobs(20, {"preset": "olmo2"}),
            note=(
                "The recipe is OLMo 2's, not the published one. Sycophancy there is diffuse: "
                "removing the top 60,000 pairs did nothing."
            ),
        ),
    )
}

PAPER: Knobs = {
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


def knobs(chosen: Preset, compat: str) -> Knobs:
    """The preset's settings; `compat` "paper" takes the paper's where they differ from ours."""
    if compat != "paper":
        return chosen.knobs
    return {
        step: {**chosen.knobs.get(step, {}), **PAPER.get(step, {})}
        for step in {**chosen.knobs, **PAPER}
    }
