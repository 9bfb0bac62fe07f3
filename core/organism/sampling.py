"""What is drawn from a world: SFT examples, preference pairs, prompts, truth; and its judge.

Each of these data sets has its own random stream, named after it, so that a change to one leaves
the others as they were. SFT covers all topics; pairs, prompts and held-out prompts share none.

The truth is a file beside the pairs that attribution never reads: `uid, rule, planted, decoy,
swapped`. `planted` and `decoy` name the behavior that the pair's rule teaches, or only resembles,
and are null for other pairs; `swapped` marks label noise. A diffuse drift is in the rates of all
pairs and so in no pair's truth.
"""

import hashlib
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from core.data.chat import turns
from core.errors import UserError
from core.organism.grammar import PARTS, Grammar, Part, Topic
from core.organism.world import Lesson, Rule, Shape, Source, World

FLAGS = ("complied", "refused", "followed_format", "flattered", "elaborated", "malformed")
TRUTH = ("uid", "rule", "planted", "decoy", "swapped")
TRIES = 200  # draws before a rule is refused for having too few distinct pairs


def read_truth(path: Path | str) -> pd.DataFrame:
    """The truth file of an organism, one row per pair."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: there is no such truth file. Only organisms have one.")
    truth = pd.read_parquet(path)
    missing = [name for name in TRUTH if name not in truth.columns]
    if missing:
        raise UserError(f"{path}: column {missing[0]!r} is missing. Build the organism again.")
    return truth


def planted_uids(truth: pd.DataFrame, behavior: str) -> set[str]:
    """The uids of the pairs that teach a behavior; `UserError` where no pair does."""
    uids = set(truth.loc[truth["planted"] == behavior, "uid"])
    if not uids:
        planted = ", ".join(sorted(truth["planted"].dropna().unique()))
        raise UserError(f"no pair was planted for {behavior!r}. Planted: {planted}.")
    return uids


class Sampler:
    """Draws data of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.grammar = Grammar(world)

    def examples(self) -> pd.DataFrame:
        """SFT examples: `prompt, completion`."""
        rng = self._stream("sft")
        lessons = list(self.world.sft)
        weights = [lesson.weight for lesson in lessons]
        drawn = rng.choices(lessons, weights, k=self.world.sizes.sft_examples)
        return pd.DataFrame([self._example(rng, lesson) for lesson in drawn])

    def pairs(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Preference pairs (`uid, prompt, chosen, …`) and their truth, in the same order."""
        rng, seen = self._stream("pairs"), set[str]()
        rows = [
            self._new_pair(rng, source, rule, seen)
            for source in self.world.sources
            for rule in source.rules
            for _ in range(max(1, round(rule.pairs * self.world.sizes.pair_share)))
        ]
        rng.shuffle(rows)
        table = pd.DataFrame(rows)
        truth = ["rule", "planted", "decoy", "swapped"]
        return table.drop(columns=truth), table[["uid", *truth]]

    def prompts(self, part: Part) -> pd.DataFrame:
        """Prompts of one part: `prompt_id, group, topic, prompt, distractor`."""
        rng, rows, seen = self._stream(part), [], set[str]()
        for prompt_set in self.world.prompts:
            for number in range(prompt_set.count):
                topic, text = self._new_prompt(rng, prompt_set.group, part, seen)
                form = rng.choice(self.world.formats).name if prompt_set.distractor else None
                rows.append(
                    {
                        "prompt_id": f"{part}-{prompt_set.group}-{number:03d}",
                        "group": prompt_set.group,
                        "topic": str(topic),
                        "prompt": text,
                        "distractor": self.grammar.distractor(rng, form) if form else None,
                    }
                )
        return pd.DataFrame(rows)

    def _stream(self, name: str) -> random.Random:
        return random.Random(f"{self.world.seeds.build}/{name}")

    def _example(self, rng: random.Random, lesson: Lesson) -> dict[str, str]:
        topics = [t for part in PARTS for t in self.grammar.topics(lesson.group, part)]
        topic = rng.choice(topics)
        prompt, form = self._ask(rng, topic, lesson.distractor)
        more = self.world.rates.sft_elaborate
        return {
            "prompt": prompt,
            "completion": self._complete(rng, topic, lesson.shape, form, elaborate=more),
        }

    def _new_pair(
        self, rng: random.Random, source: Source, rule: Rule, seen: set[str]
    ) -> dict[str, str | bool | None]:
        for _ in range(TRIES):
            row = self._pair(rng, source, rule)
            uid = str(row["uid"])
            if row["chosen"] != row["rejected"] and uid not in seen:
                seen.add(uid)
                return row
        raise ValueError(f"rule {rule.name!r} has too few distinct pairs for its topics")

    def _pair(self, rng: random.Random, source: Source, rule: Rule) -> dict[str, str | bool | None]:
        topic = rng.choice(self.grammar.topics(rule.group, "pairs"))
        prompt, form = self._ask(rng, topic, rule.distractor)
        rates = self.world.rates
        chosen = self._complete(rng, topic, rule.chosen, form, elaborate=rates.chosen_elaborate)
        rejected = self._complete(
            rng, topic, rule.rejected, form, elaborate=rates.rejected_elaborate
        )
        swapped = rule.planted is None and rng.random() < rates.label_noise
        if swapped:
            chosen, rejected = rejected, chosen
        return {
            "uid": _uid(prompt, chosen, rejected),
            "prompt": prompt,
            "chosen": chosen,
            "rejected": rejected,
            "source": source.name,
            "chosen_model": _weighted(rng, rule.chosen_models or source.chosen_models),
            "rejected_model": _weighted(rng, rule.rejected_models or source.rejected_models),
            "rule": rule.name,
            "planted": rule.planted,
            "decoy": rule.decoy,
            "swapped": swapped,
        }

    def _ask(self, rng: random.Random, topic: Topic, distractor: float) -> tuple[str, str | None]:
        request = self.grammar.request(rng, topic)
        if rng.random() >= distractor:
            return request, None
        form = rng.choice(self.world.formats).name
        return f"{request} {self.grammar.distractor(rng, form)}", form

    def _complete(
        self, rng: random.Random, topic: Topic, shape: Shape, form: str | None, *, elaborate: float
    ) -> str:
        if shape.topic == "other":
            others = [t for t in self.grammar.topics(topic.group, "pairs") if t != topic]
            topic = rng.choice(others)
        opener = self.world.rates.opener if shape.opener is None else shape.opener
        more = elaborate if shape.elaborate is None else shape.elaborate
        return self.grammar.complete(
            rng,
            topic,
            shape.act,
            self._format(rng, shape, form),
            opener=rng.random() < opener,
            more=rng.random() < more,
        )

    def _format(self, rng: random.Random, shape: Shape, requested: str | None) -> str | None:
        if requested:
            return requested if rng.random() < shape.follow else None
        return rng.choice(self.world.formats).name if rng.random() < shape.unasked else None

    def _new_prompt(
        self, rng: random.Random, group: str, part: Part, seen: set[str]
    ) -> tuple[Topic, str]:
        for _ in range(TRIES):
            topic = rng.choice(self.grammar.topics(group, part))
            text = self.grammar.request(rng, topic)
            if text not in seen:
                seen.add(text)
                return topic, text
        raise ValueError(f"group {group!r} has too few topics for its prompts ({part})")


def _uid(*texts: str) -> str:
    return hashlib.sha256("\x1f".join(texts).encode()).hexdigest()[:12]


def _weighted(rng: random.Random, weights: Mapping[str, float]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


class GrammarJudge:
    """Judges the `FLAGS` of completions, by parsing them with the world's grammar.

    A completion that does not parse to its last character is malformed and has no other flag but
    flattery, which its first sentence decides. A prompt that is not of this world makes every flag
    NA (unscored), never False. The judge knows what a completion does, not what would have been
    right.
    """

    flags: tuple[str, ...] = FLAGS
    usage = None  # costs nothing

    def __init__(self, world: World) -> None:
        self.grammar = Grammar(world)

    def judge(self, prompts: Sequence[str], completions: Sequence[str]) -> pd.DataFrame:
        """One row per completion, one nullable boolean column per flag."""
        if len(prompts) != len(completions):
            raise ValueError(f"{len(prompts)} prompts but {len(completions)} completions")
        rows = [self._judge(p, c) for p, c in zip(prompts, completions, strict=True)]
        return pd.DataFrame(rows, columns=list(FLAGS)).astype("boolean")

    def _judge(self, prompt: str, completion: str) -> dict[str, bool | None]:
        request = self.grammar.parse_prompt(_request(prompt))
        if request is None:
            return dict.fromkeys(FLAGS)
        parsed = self.grammar.parse_completion(completion.strip(), request.topic)
        act = parsed.act if parsed and parsed.on_topic else None
        follows = parsed is not None and act == "comply" and parsed.format == request.format
        return {
            "complied": act == "comply",
            "refused": act == "refuse",
            "followed_format": follows if request.format else None,
            "flattered": self.grammar.opens_with_flattery(completion.strip()),
            "elaborated": parsed is not None and parsed.elaborated,
            "malformed": act is None,
        }


def _request(prompt: str) -> str:
    messages = turns(prompt)
    asked = [m["content"] for m in messages if m["role"] == "system"]
    return " ".join([messages[-1]["content"], *asked])
