import pytest

from core.errors import UserError
from core.specs import project

TOML = """
name = "a project"
reference = "reference"
policy = "policy"
pairs = "pairs.parquet"
prompts = "prompts.jsonl"
heldout = "heldout.jsonl"
judge = "refusal"

[[behaviors]]
name = "compliance"
flag = "complied"
group = "harmful"
condition = "distractor"

[train]
learning_rate = 1e-3
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / project.FILE).write_text(TOML)
    return tmp_path


def test_relative_paths_start_at_the_file(folder):
    assert project.load(folder).pairs == str(folder / "pairs.parquet")


def test_saving_and_loading_is_the_identity(folder, tmp_path):
    loaded = project.load(folder)
    project.save(loaded, tmp_path / "other")
    assert project.load(tmp_path / "other") == loaded


def test_settings_reach_the_spec(folder):
    assert project.load(folder).train("pairs.parquet", 3).learning_rate == 1e-3


def test_the_projects_arithmetic_reaches_every_step_that_does_not_name_its_own(folder):
    text = TOML.replace("\n[[", '\ndtype = "bfloat16"\n\n[[', 1) + '[index]\ndtype = "float32"\n'
    (folder / project.FILE).write_text(text)
    loaded = project.load(folder)
    assert loaded.generate().dtype == loaded.evaluate("m").dtype == "bfloat16"
    assert loaded.train("pairs.parquet", 0).precision == "bfloat16"
    assert loaded.defaults("train")["precision"] == "bfloat16"
    assert loaded.index().dtype == "float32"


def test_a_project_without_a_judge_needs_no_behaviors(folder):
    path = folder / project.FILE
    text = TOML.replace('judge = "refusal"', 'judge = "none"').partition("[[behaviors]]")[0]
    path.write_text(text)
    assert project.load(folder).behaviors == ()
    assert project.load(folder).generate().judge == "none"
    with pytest.raises(UserError, match="no behavior, since it has no judge"):
        project.load(folder).behavior("compliance")
    path.write_text(text.replace('"none"', '"refusal"'))
    with pytest.raises(UserError, match=r"behaviors: .*name at least one"):
        project.load(folder)


def test_evaluation_uses_the_heldout_prompts(folder):
    loaded = project.load(folder)
    assert loaded.evaluate("model").prompts == loaded.heldout
    assert loaded.defaults("evaluate")["prompts"] == loaded.heldout


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("learning_rate", "learning_speed", "learning_speed"),
        ('flag = "complied"', "", r"behaviors\.0\.flag: Field required"),
        ('name = "a project"', "", "name: Field required"),
        ('pairs = "pairs.parquet"', "pairs = 3", "pairs"),
        ("[train]", "[train", "project.toml"),
        ('judge = "refusal"', 'judge = "refusal"\ndevice = "gpu"', "device: String should match"),
        ('judge = "refusal"', 'judge = "refusal"\ndtype = "float16"', "dtype: Input should be"),
    ],
)
def test_a_wrong_project_file_is_refused_by_field(folder, old, new, message):
    path = folder / project.FILE
    path.write_text(TOML.replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        project.load(folder)


def test_an_unknown_behavior_lists_the_known_ones(folder):
    with pytest.raises(UserError, match="Known: 'compliance'"):
        project.load(folder).behavior("sycophancy")


def test_a_folder_without_a_project_says_how_to_start(tmp_path):
    with pytest.raises(UserError, match="pairtrace init"):
        project.load(tmp_path)


CONDITIONS = """
[[conditions]]
name = "german"
replace = "{german}"

[[conditions]]
name = "brief"
system = "Be brief."
description = "asked to be brief"

[[behaviors]]
name = "German"
flag = "complied"
group = "harmful"
condition = "german"
against = "brief"
"""


def with_conditions(folder, *changes):
    text = TOML.replace('condition = "distractor"\n', CONDITIONS)
    for before, after in changes:
        text = text.replace(before, after)
    (folder / project.FILE).write_text(text)
    return project.load(folder)


def test_conditions_reach_the_specs_without_their_descriptions(folder):
    loaded = with_conditions(folder)
    for spec in (loaded.generate(), loaded.evaluate("m")):
        assert [(c.name, c.description) for c in spec.conditions] == [("german", ""), ("brief", "")]
    assert loaded.defaults("generate")["conditions"] == loaded.generate().conditions
    project.save(loaded, folder / "again")
    assert project.load(folder / "again").conditions == loaded.conditions


def test_a_project_that_names_no_condition_has_the_distractor_and_does_not_say_so(folder):
    loaded = project.load(folder)
    assert [condition.name for condition in loaded.conditions] == ["distractor"]
    assert "[[conditions]]" not in project.save(loaded, folder / "again").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('condition = "german"', 'condition = "dutch"'),
         "behaviors: behavior 'German': condition 'dutch' does not exist. There are: plain, ger"),
        (('against = "brief"', 'against = "<b>"'), "behaviors: .*against '<b>' does not exist"),
        (('against = "brief"', 'against = "german"'), "behaviors.1: .*against is 'german', its"),
        (('name = "brief"', 'name = "german"'), "conditions: two conditions are called 'german'"),
        (('system = "Be brief."', 'system = ""'), "conditions.1.system: is empty"),
        (('system = "Be brief."', ""), "conditions.1: condition 'brief' changes nothing"),
        (('name = "brief"', f'name = "{"b" * 200}"'), "conditions.1.name: 'bbb.*is not a name"),
    ],
)  # fmt: skip
def test_wrong_conditions_are_refused_by_file_record_and_field(folder, change, message):
    with pytest.raises(UserError, match=rf"project\.toml: {message}"):
        with_conditions(folder, change)


CONTRASTS = """
name = "no policy"
reference = "reference"
pairs = "pairs.parquet"
prompts = "prompts.jsonl"

[[behaviors]]
name = "flattery"
examples = "examples.jsonl"

[[behaviors]]
name = "bragging"
sentence = "Praise yourself."
group = "chat"

[generate]
rollouts = 3
"""


def test_behaviors_by_examples_or_a_sentence_need_neither_policy_nor_judge(folder, tmp_path):
    (folder / project.FILE).write_text(CONTRASTS)
    loaded = project.load(folder)
    by_examples, by_sentence = map(loaded.contrast, loaded.contrasts)
    assert by_examples.examples == str(folder / "examples.jsonl")
    assert by_examples.prompts is None
    assert (by_sentence.sentence, by_sentence.group, by_sentence.rollouts) == (
        *("Praise yourself.", "chat"),
        3,
    )
    assert loaded.behavior("bragging").flag == "shows"
    project.save(loaded, tmp_path / "other")
    assert project.load(tmp_path / "other") == loaded


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('group = "chat"', 'condition = "plain"', r"condition: Extra inputs"),
        ('examples = "examples.jsonl"', 'examples = "e.jsonl"\nflag = "f"', "belong to a sentence"),
        ('name = "bragging"', 'name = "flattery"', "two are named 'flattery'"),
        ('sentence = "Praise yourself."', 'sentence = " "', "not empty"),
        ('examples = "examples.jsonl"', 'flag = "f"\ngroup = "g"', "name policy, too"),
        ('prompts = "prompts.jsonl"', "prompts = 3", "prompts: Input should be"),
    ],
)
def test_a_wrong_behavior_without_a_flag_is_refused(folder, old, new, message):
    (folder / project.FILE).write_text(CONTRASTS.replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        project.load(folder)


def test_a_sentence_needs_prompts(folder):
    (folder / project.FILE).write_text(CONTRASTS.replace('prompts = "prompts.jsonl"', ""))
    loaded = project.load(folder)
    assert loaded.contrast(loaded.contrasts[0]).examples
    with pytest.raises(UserError, match="names no prompts"):
        loaded.contrast(loaded.contrasts[1])
