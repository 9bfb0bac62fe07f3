"""Names that somebody made to break things: of files, folders, repositories, addresses.

Each is used as it is meant, or refused in words that hold no secret, and nothing outside the
workspace is written.
"""

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.errors import UserError
from core.models.endpoint import URL, Endpoint
from core.models.hub import fetch
from core.runs.setup import LONGEST_NAME, UPLOADS, allowed_path, keep_upload
from tests.test_hostile import CASES

PARTS = ["..", "/", "\\", "~", "~nobody", "\0", "\n", ";", "$(id)", "@", "a", "é", "\ud800", "."]
hostile = st.text(max_size=40) | st.lists(st.sampled_from(PARTS), max_size=12).map("".join)
SECRET = "sk-very-secret"


@CASES
@given(hostile)
@example("a" * 300 + ".jsonl")
@example("é" * 150 + ".csv")
def test_an_upload_of_any_name_lies_in_its_folder_or_is_refused(tmp_path, name):
    try:
        path = keep_upload(name, b"x", tmp_path)
    except UserError:
        return
    assert path.resolve().parent == (tmp_path / UPLOADS).resolve()
    assert path.read_bytes() == b"x"
    assert len(os.fsencode(path.name)) <= LONGEST_NAME
    assert [file.name for file in tmp_path.iterdir()] == [UPLOADS]


@CASES
@given(hostile)
@example("~nobody/x")
@example("a" * 5000)
@example("\ud800")
@example("allenai/OLMo@main; rm -rf /")
def test_a_typed_path_lies_in_the_roots_or_is_refused(tmp_path, text):
    try:
        path = allowed_path(text, [tmp_path])
    except UserError:
        return
    assert path.is_relative_to(tmp_path.resolve())


@pytest.mark.parametrize(
    "name",
    [
        "../..",
        "/etc/passwd",
        "a/b@main; rm -rf /",
        "a/b\0",
        "a/b\n",
        "a" * 300 + "/b",
        "a--b/c",
        "a/b.git",
    ],
)
def test_a_repository_of_no_such_name_is_refused_before_anything_is_asked(tmp_path, name):
    with pytest.raises(UserError):
        fetch("model", name, "0" * 40, tmp_path, endpoint="http://127.0.0.1:9")
    assert not any(file.is_file() for file in tmp_path.rglob("*"))


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://host/v1",
        "javascript:alert(1)",
        f"https://user:{SECRET}@host/v1",
        f"https://host/v1?key={SECRET}",
        f"https://host/v1#{SECRET}",
    ],
)
def test_an_address_that_is_no_endpoint_is_refused_without_its_secret(monkeypatch, url):
    with pytest.raises(ValidationError) as found:
        Endpoint(model="m", url=url)
    assert SECRET not in found.value.errors()[0]["msg"]
    monkeypatch.setenv(URL, url)
    with pytest.raises(UserError, match="url") as refused:
        Endpoint(model="m").address()
    assert SECRET not in str(refused.value)
