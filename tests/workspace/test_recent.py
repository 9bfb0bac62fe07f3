"""Which workspaces an app offers, and to whom."""

import pytest

from core.environment import WORKSPACES
from core.specs.project import FILE
from core.workspace import recent


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch):
    """A folder for settings of this test's own; the app is started on `here`."""
    monkeypatch.setattr(recent.click, "get_app_dir", lambda name: str(tmp_path / "settings" / name))
    monkeypatch.setenv(WORKSPACES, str(workspace(tmp_path, "here")))


def workspace(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir(parents=True)
    (folder / FILE).write_text("")
    return folder


def test_only_who_is_alone_is_offered_what_was_opened_before(tmp_path):
    here, before = tmp_path / "here", workspace(tmp_path, "before")
    recent.remember([before])
    assert recent.offered(alone=True) == {"here": here, "before": before}
    assert recent.offered(alone=False) == {"here": here}


def test_a_workspace_that_is_gone_is_not_offered(tmp_path):
    recent.remember([tmp_path / "gone"])
    assert list(recent.offered(alone=True)) == ["here"]


def test_workspaces_of_one_name_are_told_apart_by_their_folders(tmp_path):
    other = workspace(tmp_path / "elsewhere", "here")
    recent.remember([other])
    assert recent.offered(alone=True) == {
        str(tmp_path / "here"): tmp_path / "here",
        str(other): other,
    }


def test_the_latest_come_first_and_few_are_kept(tmp_path):
    folders = [tmp_path / str(i) for i in range(recent.MOST + 3)]
    for folder in folders:
        recent.remember([folder])
    assert recent.remembered() == folders[:2:-1]


@pytest.mark.parametrize("content", ["", "{", '{"a": 1}', "[1, null]"])
def test_a_damaged_list_is_written_again(tmp_path, content):
    recent.remember([tmp_path / "a"])
    (tmp_path / "settings" / "pairtrace" / "recent.json").write_text(content)
    assert recent.remembered() == []
    recent.remember([tmp_path / "b"])
    assert recent.remembered() == [tmp_path / "b"]


def test_choices_are_kept_by_person_and_a_damaged_file_is_written_again(tmp_path):
    recent.write_choice(tmp_path, "ana", "seeds", 1)
    recent.write_choice(tmp_path, "ana", "baseline", False)
    recent.write_choice(tmp_path, "ben", "seeds", 5)
    assert recent.read_choices(tmp_path, "ana") == {"seeds": 1, "baseline": False}
    assert recent.read_choices(tmp_path, "ben") == {"seeds": 5}
    assert recent.read_choices(tmp_path, "cem") == {}
    (tmp_path / recent.CHOICES).write_text('{"ana": [1]')
    assert recent.read_choices(tmp_path, "ana") == {}
    recent.write_choice(tmp_path, "ana", "seeds", 2)
    assert recent.read_choices(tmp_path, "ana") == {"seeds": 2}
