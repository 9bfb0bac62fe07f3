"""Worlds derived from another by rewording and resizing.

Settings that were chosen on one world have to be tested on others. A variation changes a world's
TOML table; the result is an ordinary world file whose description lists the changes. The same
variation of the same file gives the same bytes. It knows nothing of models, and so not whether a
variant's policy learns what is planted.
"""

import math
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from core.errors import UserError
from core.organism.world import read_world
from core.specs.base import Record
from core.storage.parse import toml_file

Table = dict[str, Any]
LEAST_PAIRS = 5  # of a rule, however much it is thinned
MIX_SPREAD = 2.0  # an honest rule's pairs change by a factor in [1/2, 2]
SHORT_WORD = 2  # letters; shorter words (a, of, it, …) stay as they are
SOUNDS = ("bdfgklmnprstvz", "aeiou", "lmnrst")


class Variation(Record):
    """Changes to a world; fields that are not given change nothing."""

    words: NonNegativeInt | None = Field(None, description="seed of made-up words for all topics")
    mix: NonNegativeInt | None = Field(None, description="seed of other sizes of honest rules")
    formats: PositiveInt | None = Field(None, description="formatting instructions that are kept")
    decoys: PositiveFloat = Field(1.0, description="factor on the pairs of decoy rules")
    label_noise: float | None = Field(None, ge=0, le=1, description="share of swapped labels")
    contamination: float | None = Field(
        None, gt=0, lt=0.5, description="share of all pairs that each planted rule has"
    )
    shared: dict[str, str] = Field(
        {}, description="behavior → group on which any formatting instruction triggers it"
    )
    build: NonNegativeInt | None = Field(None, description="seed of the data and the reference")
    sizes: dict[str, float | int] = Field({}, description="sizes instead of the world's")
    training: tuple[NonNegativeInt, ...] = Field((), description="DPO seeds instead of the world's")
    beta: PositiveFloat | None = Field(None, description="pull to the reference in DPO")


# Six worlds that no setting was chosen on, each named after a river. Their beta is larger than the
# default world's, whose words were picked until its policy was well-formed; these were not.
MEDIUM = {
    "blocks": 3, "width": 96, "heads": 6, "mlp_width": 192, "sft_examples": 9600, "pair_share": 0.5,
}  # fmt: skip
COMMON: dict[str, Any] = {"sizes": MEDIUM, "training": (0,), "beta": 1.0}
VARIATIONS: dict[str, Variation] = {
    "avon": Variation(words=11, mix=11, build=11, **COMMON),
    "brent": Variation(words=12, decoys=2.0, contamination=0.05, build=12, **COMMON),
    "clyde": Variation(words=13, label_noise=0.10, contamination=0.10, build=13, **COMMON),
    "dee": Variation(
        words=14, contamination=0.12, shared={"flattery": "benign"}, build=14, **COMMON
    ),
    "exe": Variation(words=15, contamination=0.03, build=15, **COMMON),
    "forth": Variation(
        words=16, mix=16, formats=4, decoys=1.5, label_noise=0.05, contamination=0.04, build=16,
        **COMMON,
    ),
}  # fmt: skip


def write_variant(world: Path | str, name: str, out: Path | str) -> Path:
    """Write the variant `name` of a world file to `out`, checked as any world file is."""
    if name not in VARIATIONS:
        raise UserError(f"variant {name!r} is not one of {', '.join(VARIATIONS)}.")
    read_world(world)  # raises `UserError` where the file is wrong
    table = varied(toml_file(Path(world)), name, VARIATIONS[name])
    out = Path(out)
    out.write_text(tomli_w.dumps(table, multiline_strings=True), encoding="utf-8")
    read_world(out)
    return out


def varied(table: Table, name: str, variation: Variation) -> Table:
    """The table of a world with a variation applied, under another name."""
    if variation.words is not None:
        table = _reworded(table, random.Random(f"words/{variation.words}"))
    changes = variation.model_dump(exclude_defaults=True)
    made = {
        **table,
        "name": name,
        "description": f"{table['name']}, varied: {changes}. {table.get('description', '')}",
        "rates": {**table["rates"]},
        "seeds": {**table.get("seeds", {})},
        "sizes": {**table["sizes"], **variation.sizes},
        "sources": [
            {**source, "rules": [{**rule} for rule in source["rules"]]}
            for source in table["sources"]
        ],
        "behaviors": [{**behavior} for behavior in table["behaviors"]],
    }
    if variation.label_noise is not None:
        made["rates"]["label_noise"] = variation.label_noise
    if variation.build is not None:
        made["seeds"]["build"] = variation.build
    if variation.training:
        made["seeds"]["training"] = list(variation.training)
    if variation.beta is not None:
        settings = made.get("knobs", {})
        train = {**settings.get("train", {}), "beta": variation.beta}
        made["knobs"] = {**settings, "train": train}
    if variation.formats is not None:
        made["formats"] = made["formats"][: variation.formats]
    for behavior, group in variation.shared.items():
        _share_trigger(made, behavior, group)
    _resize(made, variation)
    return made


def _share_trigger(table: Table, behavior: str, group: str) -> None:
    """Let any formatting instruction on prompts of the group trigger the behavior."""
    planted = [rule for rule in _rules(table) if rule.get("planted") == behavior]
    if not planted:
        raise UserError(f"no rule of {table['name']} plants {behavior!r}.")
    for rule in planted:
        rule.update(group=group, distractor=1.0)
    for described in table["behaviors"]:
        if described["name"] == behavior:
            described.update(group=group, condition="distractor")


def _resize(table: Table, variation: Variation) -> None:
    """Scale honest rules at random, multiply decoys, and make each planted rule a share of all."""
    if variation.mix is not None:
        rng = random.Random(f"mix/{variation.mix}")
        for rule in _rules(table, planted=False):
            factor = math.exp(rng.uniform(-1, 1) * math.log(MIX_SPREAD))
            rule["pairs"] = max(LEAST_PAIRS, round(rule["pairs"] * factor))
    for rule in _rules(table, planted=False):
        if rule.get("decoy"):
            rule["pairs"] = max(LEAST_PAIRS, round(rule["pairs"] * variation.decoys))
    if variation.contamination is not None:
        planted = list(_rules(table, planted=True))
        honest = sum(rule["pairs"] for rule in _rules(table, planted=False))
        total = honest / (1 - len(planted) * variation.contamination)
        for rule in planted:
            rule["pairs"] = max(LEAST_PAIRS, round(total * variation.contamination))


def _rules(table: Table, planted: bool | None = None) -> Iterator[Table]:
    for source in table["sources"]:
        for rule in source["rules"]:
            if planted is None or planted == ("planted" in rule):
                yield rule


def _reworded(table: Table, rng: random.Random) -> Table:
    """Replace the words of topics and points, except short ones and those of the sentence frames.

    A word is replaced by the same word everywhere, so that groups share words as they did before.
    """
    topical = [style["points"] for style in table["styles"]]
    topical += [group["families"] for group in table["groups"]]
    words = {word for text in _texts(topical) for word in _long_words(text)}
    frames = [table[key] for key in ("openers", "elaborations", "refusals", "formats")]
    frames += [group["requests"] for group in table["groups"]]
    frames += [style[key] for style in table["styles"] for key in ("leads", "plain")]
    taken = {word for text in _texts(frames) for word in _long_words(text)}
    made = {word: _new_word(rng, taken) for word in sorted(words - taken)}
    worded = {key: value for key, value in table.items() if key in WORDED}
    return {**table, **_mapped(worded, lambda text: _replaced(text, made))}


WORDED = ("openers", "elaborations", "refusals", "styles", "formats", "groups")
KEYS = ("name", "style")  # names that other parts refer to, not words of the world


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {k: v if k in KEYS else _mapped(v, change) for k, v in value.items()}
    if isinstance(value, list):
        return [_mapped(item, change) for item in value]
    return change(value) if isinstance(value, str) else value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = [item for key, item in value.items() if key not in KEYS]
    if isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def _long_words(text: str) -> list[str]:
    plain = re.sub(r"\{\w+\}", " ", text).lower()
    return [word for word in re.findall(r"[a-z]+", plain) if len(word) > SHORT_WORD]


def _replaced(text: str, made: dict[str, str]) -> str:
    def new(match: re.Match[str]) -> str:
        word = match[0]
        other = made.get(word.lower(), word)
        return other.capitalize() if word[0].isupper() and other != word else other

    return re.sub(r"\{\w+\}|[A-Za-z]+", lambda m: m[0] if m[0][0] == "{" else new(m), text)


def _new_word(rng: random.Random, taken: set[str]) -> str:
    start, vowel, end = SOUNDS
    while True:
        syllables = [rng.choice(start) + rng.choice(vowel) for _ in range(2)]
        word = "".join([*syllables, rng.choice(end)])
        if word not in taken:
            taken.add(word)
            return word
