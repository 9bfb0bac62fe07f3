"""The reference's log-probabilities on disk: by tokens, by weights, whoever writes."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pandas as pd

from core.intervention.training.tokens import LogProbCache, log_prob_key


def test_values_of_many_writers_are_merged(tmp_path):
    cache = LogProbCache(tmp_path, model="m", arithmetic="float32")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: cache.add({str(i): -float(i)}), range(12)))
    assert cache.read() == {str(i): -float(i) for i in range(12)}
    assert not list(tmp_path.glob("*.part"))


def test_what_is_added_leaves_the_files_that_are_there_alone(tmp_path):
    cache = LogProbCache(tmp_path, model="m", arithmetic="float32")
    cache.add({"a": -1.0, "b": -2.0})
    before = {path: path.read_bytes() for path in cache.files}
    cache.add({"b": -3.0})
    assert {path: path.read_bytes() for path in before} == before
    assert cache.read() == {"a": -1.0, "b": -3.0}


def test_the_one_file_of_an_earlier_version_is_read_and_what_is_newer_wins(tmp_path):
    old = pd.DataFrame({"key": ["a", "b"], "log_prob": [-1.0, -2.0]})
    old.to_parquet(tmp_path / "m-float32.parquet", index=False)
    cache = LogProbCache(tmp_path, model="m", arithmetic="float32")
    cache.add({"b": -3.0})
    assert cache.read() == {"a": -1.0, "b": -3.0}


def test_a_writer_that_is_killed_loses_only_what_it_was_writing(tmp_path):
    cache = LogProbCache(tmp_path, model="m", arithmetic="float32")
    cache.add({"a": -1.0})
    dying = (
        "import os, sys, pandas as pd\n"
        "from pathlib import Path\n"
        "from core.intervention.training.tokens import LogProbCache\n"
        "write = pd.DataFrame.to_parquet\n"
        "def half(table, path, **known):\n"
        "    write(table, path, **known)\n"
        "    os.truncate(path, 100)\n"
        "    os.kill(os.getpid(), 9)\n"
        "pd.DataFrame.to_parquet = half\n"
        "LogProbCache(Path(sys.argv[1]), model='m', arithmetic='float32').add({'b': -2.0})\n"
    )
    done = subprocess.run([sys.executable, "-c", dying, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert cache.read() == {"a": -1.0}
    assert len(list(tmp_path.glob("*.part"))) == 1
    cache.add({"b": -2.0})
    assert cache.read() == {"a": -1.0, "b": -2.0}
    assert not list(tmp_path.glob("*.part"))


def test_other_weights_and_other_arithmetic_have_files_of_their_own(tmp_path):
    LogProbCache(tmp_path, model="m", arithmetic="float32").add({"key": -1.0})
    assert LogProbCache(tmp_path, model="other", arithmetic="float32").read() == {}
    assert LogProbCache(tmp_path, model="m", arithmetic="bfloat16").read() == {}


def test_a_key_knows_where_the_prompt_ends():
    assert log_prob_key([1, 2], [3]) != log_prob_key([1], [2, 3])
    assert log_prob_key([1, 2], [3]) == log_prob_key([1, 2], [3])
