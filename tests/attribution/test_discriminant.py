"""The direction between two sides, with what both vary in damped."""

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from core.attribution.discriminant import SHRINKAGE, discriminant

D = 12


def sides(seed=0):
    """Two sides apart along axis 0; both vary far along axis 1, where they differ by chance."""
    rng = np.random.default_rng(seed)
    scale = np.r_[0.3, 5.0, np.full(D - 2, 0.3)]
    shown, usual = (rng.normal(size=(n, D)) * scale for n in (20, 30))
    shown[:, 0] += 1
    return shown, usual


def cos(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_it_damps_what_completions_vary_in_anyway():
    shown, usual = sides()
    axis = np.eye(D)[0]
    plain = shown.mean(axis=0) - usual.mean(axis=0)
    assert cos(discriminant(shown, usual), axis) > 0.9 > cos(plain, axis)


def test_it_is_the_shrunk_discriminant_of_scikit_learn():
    """Theirs standardises before it shrinks, so features are given the same scale first."""
    shown, usual = sides(1)
    rows = np.concatenate([shown, usual])
    labels = np.r_[np.ones(len(shown)), np.zeros(len(usual))]
    within = np.concatenate([shown - shown.mean(axis=0), usual - usual.mean(axis=0)])
    rows = rows / within.std(axis=0)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=SHRINKAGE).fit(rows, labels)
    ours = discriminant(rows[: len(shown)], rows[len(shown) :])
    assert cos(ours, theirs.coef_[0]) > 0.999


def test_swapping_the_sides_negates_it():
    shown, usual = sides()
    np.testing.assert_allclose(discriminant(usual, shown), -discriminant(shown, usual), rtol=1e-4)


def test_completions_that_do_not_vary_leave_the_difference_of_means():
    one, other = np.ones((3, D)), np.zeros((2, D))
    np.testing.assert_array_equal(discriminant(one, other), np.ones(D))
