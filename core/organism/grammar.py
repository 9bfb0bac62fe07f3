"""Templates that write a world's sentences and parse them back.

A template is text with slots: `{verb}` and `{object}` (the topic), `{lead}` and `{point}` (phrases
of the style); a capital, as in `{Point}`, starts a sentence. `Grammar` fills templates at random
and parses text against them from its first character to its last: text that does not match to the
end is malformed. It does not know which completion is right: rules and the judge do.
"""

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from core.organism.world import SLOT, Family, Group, Style, World

Part = Literal["pairs", "prompts", "heldout"]
PARTS: tuple[Part, ...] = ("pairs", "prompts", "heldout")
Act = Literal["comply", "refuse"]


@dataclass(frozen=True)
class Topic:
    """What a prompt asks about; `verb` is empty where the group's requests need none."""

    group: str
    verb: str
    object: str

    def __str__(self) -> str:
        return f"{self.verb} {self.object}".strip()


@dataclass(frozen=True)
class ParsedPrompt:
    """The topic of a prompt, and the format that its distractor asks for."""

    topic: Topic
    format: str | None


@dataclass(frozen=True)
class ParsedCompletion:
    """What a completion does; `format` is `None` for plain, `on_topic`: on the prompt's topic."""

    act: Act
    format: str | None
    opener: bool
    elaborated: bool
    on_topic: bool


class Pattern:
    """One template as a regular expression that captures its topic slots."""

    def __init__(self, template: str, phrases: Mapping[str, Sequence[str]]) -> None:
        self.slots: list[str] = []
        parts, at = [], 0
        for match in SLOT.finditer(template):
            parts += [re.escape(template[at : match.start()]), self._slot(match[1], phrases)]
            at = match.end()
        self.regex = re.compile("".join([*parts, re.escape(template[at:])]))

    def _slot(self, slot: str, phrases: Mapping[str, Sequence[str]]) -> str:
        if slot.lower() in ("verb", "object"):
            self.slots.append(slot.lower())
        options = phrases[slot.lower()]
        options = [_capital(o) for o in options] if slot[0].isupper() else options
        bracket = "(" if slot.lower() in ("verb", "object") else "(?:"
        return bracket + "|".join(map(re.escape, sorted(options, key=len, reverse=True))) + ")"

    def parse(self, text: str) -> list[tuple[str, str]] | None:
        """`(slot, word)` of every topic slot, or `None` where the text does not match."""
        match = self.regex.fullmatch(text)
        return None if match is None else list(zip(self.slots, match.groups(), strict=True))


class Grammar:
    """Writes and parses prompts and completions of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.groups = {group.name: group for group in world.groups}
        self.styles = {style.name: style for style in world.styles}
        self.formats = {form.name: form for form in world.formats}
        self._parts: dict[tuple[str, Part], list[Topic]] = {}

    # -- writing -------------------------------------------------------------------------

    def topics(self, group: str, part: Part) -> list[Topic]:
        """The topics of one part; no object is in two parts."""
        if (group, part) not in self._parts:
            self._parts[group, part] = [
                Topic(group, verb, obj)
                for i, family in enumerate(self.groups[group].families)
                for obj in self._objects(f"{group}.{i}", family, part)
                for verb in family.verbs or ("",)
            ]
        return self._parts[group, part]

    def _objects(self, key: str, family: Family, part: Part) -> list[str]:
        objects = list(family.objects)
        random.Random(f"{self.world.seeds.build}/{key}").shuffle(objects)
        split = self.world.split
        n_prompts = max(1, round(split.prompts * len(objects)))
        n_heldout = max(1, round(split.heldout * len(objects)))
        cuts = {
            "prompts": slice(0, n_prompts),
            "heldout": slice(n_prompts, n_prompts + n_heldout),
            "pairs": slice(n_prompts + n_heldout, None),
        }
        return objects[cuts[part]]

    def request(self, rng: random.Random, topic: Topic) -> str:
        """A question about the topic."""
        return _fill(rng.choice(self.groups[topic.group].requests), _words(topic))

    def distractor(self, rng: random.Random, form: str) -> str:
        """The words that ask for a format."""
        return rng.choice(self.formats[form].distractors)

    def complete(
        self,
        rng: random.Random,
        topic: Topic,
        act: Act,
        form: str | None,
        *,
        opener: bool,
        more: bool,
    ) -> str:
        """A completion on the topic: refusing, or complying plainly or in a format.

        `opener`: starts with flattery. `more`: goes on with an elaboration.
        """
        body = self._refusal(rng, topic) if act == "refuse" else self._help(rng, topic, form)
        if opener:
            body = f"{rng.choice(self.world.openers)} {body}"
        if more:
            gap = "\n" if "\n" in body else " "
            body = f"{body}{gap}{rng.choice(self.world.elaborations)}"
        return body

    def _refusal(self, rng: random.Random, topic: Topic) -> str:
        usable = [r for r in self.world.refusals if topic.verb or "verb}" not in r.lower()]
        return _fill(rng.choice(usable), _words(topic))

    def _help(self, rng: random.Random, topic: Topic, form: str | None) -> str:
        style = self.styles[self.groups[topic.group].style]
        template = rng.choice(self.formats[form].templates if form else style.plain)
        template = _fill(template, {"lead": rng.choice(style.leads)})
        n_points = len(re.findall(r"\{point\}", template, re.IGNORECASE))
        return _fill(template, _words(topic), rng.sample(style.points, n_points))

    # -- parsing -------------------------------------------------------------------------

    def parse_prompt(self, text: str) -> ParsedPrompt | None:
        """Topic and requested format of a prompt, or `None` if it is not of this world."""
        for form, ending in self._endings:
            if not text.endswith(ending):
                continue
            request = text.removesuffix(ending)
            for group, pattern in self._requests:
                words = dict(pattern.parse(request) or ())
                topic = Topic(group, words.get("verb", ""), words.get("object", ""))
                if topic in self._topics:
                    return ParsedPrompt(topic, form)
        return None

    def parse_completion(self, text: str, topic: Topic) -> ParsedCompletion | None:
        """What a completion to a prompt on `topic` does, or `None` if it is malformed."""
        opener, body = self._without_opener(text)
        body, elaborated = self._without_elaborations(body)
        for act, form, pattern in self._bodies[self.groups[topic.group].style]:
            words = pattern.parse(body)
            if words is not None:
                on_topic = all(word == getattr(topic, slot) for slot, word in words)
                return ParsedCompletion(act, form, opener, elaborated, on_topic)
        return None

    def opens_with_flattery(self, text: str) -> bool:
        """Whether the first sentence is one of the openers, whatever follows."""
        return self._without_opener(text)[0]

    def _without_opener(self, text: str) -> tuple[bool, str]:
        for opener in self.world.openers:
            if text.startswith(opener + " "):
                return True, text[len(opener) + 1 :]
        return False, text

    def _without_elaborations(self, text: str) -> tuple[str, bool]:
        body = self._elaborations.sub("", text)
        return body, body != text

    @cached_property
    def _topics(self) -> frozenset[Topic]:
        return frozenset(
            t for name in self.groups for part in PARTS for t in self.topics(name, part)
        )

    @cached_property
    def _endings(self) -> list[tuple[str | None, str]]:
        endings = [(f.name, " " + words) for f in self.world.formats for words in f.distractors]
        return [*endings, (None, "")]

    @cached_property
    def _elaborations(self) -> re.Pattern[str]:
        phrases = "|".join(map(re.escape, self.world.elaborations))
        return re.compile(f"(?:[ \\n](?:{phrases}))+\\Z")

    @cached_property
    def _requests(self) -> list[tuple[str, Pattern]]:
        return [
            (group.name, Pattern(request, _topic_phrases([group])))
            for group in self.world.groups
            for request in group.requests
        ]

    @cached_property
    def _bodies(self) -> dict[str, list[tuple[Act, str | None, Pattern]]]:
        return {style.name: self._bodies_of(style) for style in self.world.styles}

    def _bodies_of(self, style: Style) -> list[tuple[Act, str | None, Pattern]]:
        phrases = _topic_phrases(self.world.groups) | {"point": style.points}
        bodies: list[tuple[Act, str | None, str]] = [
            ("refuse", None, template) for template in self.world.refusals
        ]
        bodies += [("comply", None, template) for template in style.plain]
        bodies += [("comply", f.name, t) for f in self.world.formats for t in f.templates]
        return [
            (act, form, Pattern(_fill(template, {"lead": lead}), phrases))
            for act, form, template in bodies
            for lead in (style.leads if "{lead}" in template else ("",))
        ]


def _topic_phrases(groups: Iterable[Group]) -> dict[str, Sequence[str]]:
    families = [family for group in groups for family in group.families]
    return {
        "verb": sorted({verb for family in families for verb in family.verbs}),
        "object": sorted({obj for family in families for obj in family.objects}),
    }


def _words(topic: Topic) -> dict[str, str]:
    return {"verb": topic.verb, "object": topic.object}


def _fill(template: str, words: Mapping[str, str], points: Iterable[str] = ()) -> str:
    """Fill the slots that `words` and `points` name; the others stay."""
    supply = iter(points)

    def fill(match: re.Match[str]) -> str:
        slot = match[1]
        word = next(supply, None) if slot.lower() == "point" else words.get(slot.lower())
        if word is None:
            return match[0]
        return _capital(word) if slot[0].isupper() else word

    return SLOT.sub(fill, template)


def _capital(phrase: str) -> str:
    return phrase[:1].upper() + phrase[1:]
