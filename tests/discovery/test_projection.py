"""A map that keeps planted groups together."""

import numpy as np
import pytest

from core.discovery.projection import balanced_sample, embed

SETTINGS = {"neighbors": 10, "min_dist": 0.05, "seed": 0}


def blobs(n_each=40, width=12, groups=3, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(scale=5, size=(groups, width))
    points = np.concatenate([c + rng.normal(size=(n_each, width)) for c in centres])
    return points.astype(np.float32), np.repeat(np.arange(groups), n_each)


def test_planted_groups_stay_apart_on_the_map_and_the_seed_fixes_it():
    points, group = blobs()
    place = embed(points, **SETTINGS).coordinates
    centres = np.array([place[group == g].mean(axis=0) for g in range(3)])
    nearest = np.linalg.norm(place[:, None] - centres[None], axis=2).argmin(axis=1)
    assert (nearest == group).all()
    np.testing.assert_array_equal(embed(points, **SETTINGS).coordinates, place)


def test_what_a_layout_compiles_is_kept_for_the_next_process():
    import umap
    from numba.extending import is_jitted

    embed(blobs()[0], **SETTINGS)
    found = [*vars(umap.layouts).values(), *vars(umap.umap_).values()]
    compiled = [one for one in found if is_jitted(one) and one.signatures]
    assert compiled
    assert all(one.stats.cache_path for one in compiled)


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_too_few_points_for_umap_still_have_coordinates(n):
    place = embed(blobs()[0][:n], **SETTINGS).coordinates
    assert place.shape == (n, 2)
    assert np.isfinite(place).all()


def test_fewer_points_than_neighbors_are_embedded():
    place = embed(blobs()[0][:9], neighbors=50, min_dist=0.05, seed=0).coordinates
    assert place.shape == (9, 2)
    assert np.isfinite(place).all()


def test_identical_points_share_one_place():
    place = embed(np.ones((30, 4), np.float32), **SETTINGS).coordinates
    assert not np.ptp(place, axis=0).any()


def test_points_outside_the_sample_are_placed_within_their_group():
    points, group = blobs()
    place, embedded = embed(points, groups=group, most=60, **SETTINGS)
    assert embedded.sum() == 60
    assert np.bincount(group[embedded]).tolist() == [20, 20, 20]
    for own in range(3):
        inside = place[(group == own) & embedded]
        others = place[(group == own) & ~embedded]
        assert (others >= inside.min(axis=0) - 1e-3).all()
        assert (others <= inside.max(axis=0) + 1e-3).all()


@pytest.mark.parametrize(
    ("sizes", "most", "expected"),
    [
        ({0: 5, 1: 50, 2: 50}, 25, {0: 5, 1: 10, 2: 10}),
        ({-1: 90, 0: 10, 1: 50}, 50, {-1: 10, 0: 10, 1: 30}),
        ({-1: 90}, 50, {-1: 50}),
        ({0: 3, 1: 4}, 10, {0: 3, 1: 4}),
    ],
)
def test_small_groups_are_sampled_completely_and_the_rest_in_equal_parts(sizes, most, expected):
    groups = np.repeat(list(sizes), list(sizes.values()))
    chosen = balanced_sample(groups, most, 0)
    names, counts = np.unique(groups[chosen], return_counts=True)
    assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == expected
