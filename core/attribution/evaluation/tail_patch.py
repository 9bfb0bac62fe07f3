"""Tail-patch: train one step on the top pairs of a ranking, and measure the behavior's margin.

From the reference, one AdamW step of DPO on the top k pairs; measured is the mean change of the
margin log p(policy's completion) − log p(reference's) over the behavior's prompts (Chang et al.
2024, "Scalable influence and fact tracing", for one pair at a time and cross-entropy). Cheap where
retraining is expensive; it sees first steps only. Needs torch.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import logsigmoid

from core.attribution.baselines.gradient import Contrast, margin


def tail_patch(
    model: Any,
    top: Sequence[Contrast],
    behavior: Sequence[Contrast],
    *,
    beta: float,
    learning_rate: float,
) -> float:
    """Change of the behavior's mean margin, in nats, after one step on `top`.

    The model is left as it is: the step is on a copy.
    """
    stepped = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(stepped.parameters(), lr=learning_rate, weight_decay=0.0)
    for pair in top:
        current = margin(stepped, pair)
        # policy = reference before the step, so the reference's margin is this one
        loss = -logsigmoid(beta * (current - current.detach())) / len(top)
        loss.backward()
    optimizer.step()
    return mean_margin(stepped, behavior) - mean_margin(model, behavior)


def mean_margin(model: Any, contrasts: Sequence[Contrast]) -> float:
    """Mean of log p(upper) − log p(lower) over contrasts, in nats."""
    with torch.no_grad():
        return float(torch.stack([margin(model, contrast) for contrast in contrasts]).mean())
