"""Names that somebody made to break things: of files, folders, repositories, addresses.

Each is used as it is meant, or refused in words that hold no secret, and nothing outside the
workspace is written.
"""

import os
from contextlib import suppress
from functools import partial

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.environment import ENDPOINT_URL
from core.errors import UserError
from core.models.api.client import Endpoint
from core.models.hub import fetch
from core.runs.commands import build
from core.runs.store import Store
from core.specs.steps import SuggestSpec
from core.workspace.checks import LONGEST_NAME, UPLOADS, allowed_path, keep_upload
from tests.test_hostile_files import CASES

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
        f"https://host:{SECRET}/v1",
        f"host/{SECRET}",
        "http:///v1",
        "http://[::1/v1",
    ],
)
def test_an_address_that_is_no_endpoint_is_refused_without_its_secret(monkeypatch, url):
    for make in (partial(Endpoint, model="m"), partial(SuggestSpec, discover="d", llm="m")):
        with pytest.raises(ValidationError) as invalid:
            make(url=url)
        assert SECRET not in str(invalid.value)
    with pytest.raises(UserError) as unbuilt:
        build(SuggestSpec, {"discover": "d", "llm": "m", "url": url}, {})
    assert SECRET not in str(unbuilt.value)
    monkeypatch.setenv(ENDPOINT_URL, url)
    with pytest.raises(UserError, match="url") as refused:
        Endpoint(model="m").address()
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.170.2",
        "[fe80::1]",
        "[fe80::a9fe:a9fe%25eth0]",
        "[fd00:ec2::254]",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[2002:a9fe:a9fe::1]",
        "[64:ff9b::a9fe:a9fe]",
        "100.100.100.200",
        "metadata.google.internal",
        "METADATA.google.internal.",
    ],
)
@pytest.mark.parametrize("port", ["", ":80", ":8000"])
def test_the_metadata_service_of_a_cloud_is_no_endpoint(host, port):
    with pytest.raises(ValidationError, match="metadata service"):
        Endpoint(model="m", url=f"http://{host}{port}/latest/meta-data")


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "[::1]", "10.0.0.7", "192.168.1.4", "[fd12::7]", "gpu.lan"]
)
def test_a_model_on_this_machine_or_a_private_network_is_an_endpoint(host):
    url = f"http://{host}:8000/v1"
    assert Endpoint(model="m", url=f"{url}/").address() == f"{url}/chat/completions"


@CASES
@given(hostile)
def test_an_address_of_any_letters_is_checked_without_a_traceback(text):
    for url in (text, f"http://{text}/v1", f"http://[{text}]:1/v1"):
        with suppress(ValidationError):
            Endpoint(model="m", url=url)


@pytest.mark.parametrize(
    "run",
    ["../../etc", "rank-../../../../etc", "rank-0123456789abcdef/..", "/etc", "", "rank-", "\0"],
)
def test_a_run_id_is_never_a_path(tmp_path, run):
    with pytest.raises(UserError):
        Store(tmp_path).folder(run)
