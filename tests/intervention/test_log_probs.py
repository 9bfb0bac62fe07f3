"""The reference's log-probabilities on disk: by tokens, by weights, whoever writes."""

from concurrent.futures import ThreadPoolExecutor

from core.intervention.log_probs import LogProbCache, log_prob_key


def test_values_of_many_writers_are_merged(tmp_path):
    cache = LogProbCache(tmp_path, model="m", arithmetic="float32")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: cache.add({str(i): -float(i)}), range(12)))
    assert cache.read() == {str(i): -float(i) for i in range(12)}
    assert not list(tmp_path.glob("*.part"))


def test_other_weights_and_other_arithmetic_have_files_of_their_own(tmp_path):
    LogProbCache(tmp_path, model="m", arithmetic="float32").add({"key": -1.0})
    assert LogProbCache(tmp_path, model="other", arithmetic="float32").read() == {}
    assert LogProbCache(tmp_path, model="m", arithmetic="bfloat16").read() == {}


def test_a_key_knows_where_the_prompt_ends():
    assert log_prob_key([1, 2], [3]) != log_prob_key([1], [2, 3])
    assert log_prob_key([1, 2], [3]) == log_prob_key([1, 2], [3])
