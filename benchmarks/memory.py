"""Peak memory of index, generation and DPO: priced beforehand against measured.

Each case is a process of its own, whose highest resident size is measured (with a GPU: the highest
allocation on it). Models are the embedded organism, SmolLM2 if it is in the user's cache, and
random OLMo 2 shapes; texts are the organism's, joined to longer ones.
"""

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from core import environment

ORGANISM = Path(__file__).parents[1] / "assets" / "organism"
RANDOM = {  # width, blocks, vocabulary of the OLMo 2 shapes
    "random 8x512": (512, 8, 8_192),
    "random 2x1024": (1024, 2, 100_352),
}
PAIRS = {"index": 48, "generate": 12, "train": 16}
