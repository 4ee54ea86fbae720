"""Rankings: their order and merging parts."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wellspring.retrieval.ranking import NOTHING, merged, ranked


def test_equal_scores_lie_in_the_order_of_the_corpus():
    found = ranked(np.array([[7, 2, 5, NOTHING]]), np.array([[1.0, 1, 3, 9]]), 4)

    assert found.documents.tolist() == [[5, 2, 7, NOTHING]]
    assert found.scores.tolist() == [[3, 1, 1, -np.inf]]


@given(
    arrays(np.int8, (3, 12), elements=st.integers(-2, 2)), st.integers(1, 14), st.integers(0, 12)
)
def test_merged_parts_are_the_ranking_of_the_whole(scores, k, cut):
    positions = np.broadcast_to(np.arange(12), scores.shape)
    whole = ranked(positions, scores, k)

    parts = [ranked(positions[:, part], scores[:, part], k) for part in (np.s_[:cut], np.s_[cut:])]

    both = merged(parts, k)
    np.testing.assert_array_equal(both.documents, whole.documents)
    np.testing.assert_array_equal(both.scores, whole.scores)
