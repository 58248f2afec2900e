"""Expected scores where images tie: each order of images at the same distance is equally likely.

Source: average precision as in McSherry, Najork, "Computing Information Retrieval Performance
Measures Efficiently in the Presence of Tied Scores", ECIR 2008; the others by counting orders.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import gammaln


class TieGroups(NamedTuple):
    """The images at each distance at which a query has right answers, nearest first.

    Attributes:
        queries: int array (queries,): the queries with right answers, ascending.
        first: int array (queries,): each one's first group.
        query: int array (groups,): each group's place in `queries`.
        before: int array (groups,): images that are nearer.
        size: int array (groups,): images at the distance.
        right: int array (groups,): right answers among them, at least one.
        right_before: int array (groups,): right answers that are nearer.
    """

    queries: np.ndarray
    first: np.ndarray
    query: np.ndarray
    before: np.ndarray
    size: np.ndarray
    right: np.ndarray
    right_before: np.ndarray

    @classmethod
    def of(cls, query, nearer, not_farther):
        """The groups of some right answers.

        Args:
            query: int array (right answers,), ascending.
            nearer: int array (right answers,). Images, right or wrong, nearer to the query.
            not_farther: int array (right answers,). Images no farther, itself included.
        Returns:
            `TieGroups`.
        Example:
            >>> groups = TieGroups.of(np.array([4, 4, 4]), np.array([5, 0, 5]), np.array([9, 1, 9]))
            >>> groups.queries.tolist(), groups.size.tolist(), groups.right.tolist()
            ([4], [1, 4], [1, 2])
        """
        order = np.lexsort((nearer, query))
        query, nearer, not_farther = query[order], nearer[order], not_farther[order]
        begins = np.ones(len(query), bool)
        begins[1:] = (query[1:] != query[:-1]) | (nearer[1:] != nearer[:-1])
        starts = np.flatnonzero(begins)
        right = np.diff(np.append(starts, len(query)))
        queries, first, place = np.unique(query[starts], return_index=True, return_inverse=True)
        before = nearer[starts]
        size = not_farther[starts] - before
        return cls(queries, first, place, before, size, right, starts - starts[first][place])

    def found(self, ranks):
        """The chance that a right answer is among the first so many.

        Args:
            ranks: ints >= 1.
        Returns:
            Float array (queries, ranks).
        Example:
            >>> one_of_four = TieGroups.of(np.array([0]), np.array([0]), np.array([4]))
            >>> one_of_four.found([1, 2, 5]).round(6).tolist()
            [[0.25, 0.5, 1.0]]
        """
        before, size, right = (
            part[self.first][:, None] for part in (self.before, self.size, self.right)
        )
        within = np.clip(np.asarray(ranks) - before, 0, size)  # Images of the group up to that rank.
        # All its right answers beyond that rank: C(size - within, right) of C(size, right) orders.
        return 1.0 - np.exp(_log_choose(size - within, right) - _log_choose(size, right))

    def average_precision(self):
        """The expected mean of the precision at each right answer.

        Returns:
            Float array (queries,).
        Example:
            >>> one_of_two = TieGroups.of(np.array([0]), np.array([0]), np.array([2]))
            >>> one_of_two.average_precision().round(6).tolist()
            [0.75]
        """
        harmonic = _harmonic(self.before, self.before + self.size)
        # A right answer at place i of its group has (i - 1) · slope right ones before it there.
        slope = (self.right - 1) / np.maximum(self.size - 1, 1)
        constant = self.right_before + 1 - slope
        precision = slope * self.size + (constant - slope * self.before) * harmonic
        precision = precision * self.right / self.size
        total = np.bincount(self.query, self.right)
        return np.bincount(self.query, precision) / total

    def inverse_negative_penalty(self):
        """The expected number of right answers over the rank of the last of them.

        Returns:
            Float array (queries,).
        Example:
            >>> one_of_two = TieGroups.of(np.array([0]), np.array([0]), np.array([2]))
            >>> one_of_two.inverse_negative_penalty().round(6).tolist()
            [0.75]
        """
        last = np.cumsum(np.bincount(self.query)) - 1  # Of each query's groups.
        before, size, right = self.before[last], self.size[last], self.right[last]
        inverse = 1.0 / (before + size)  # Where all of the group are right answers.
        for row in np.flatnonzero(right < size):
            place = np.arange(right[row], size[row] + 1)  # Of the last right answer in the group.
            log_chance = _log_choose(place - 1, right[row] - 1) - _log_choose(size[row], right[row])
            inverse[row] = np.sum(np.exp(log_chance) / (before[row] + place))
        return np.bincount(self.query, self.right) * inverse


def _log_choose(n, k):
    """Log of the number of ways to choose k of n; minus infinity where there is none."""
    possible = k <= n
    n = np.where(possible, n, k)
    return np.where(possible, gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1), -np.inf)


def _harmonic(start, end):
    """1/(start + 1) + ... + 1/end, of arrays of ints."""
    sums = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, end.max(initial=1) + 1))])
    return np.where(end == start + 1, 1.0 / end, sums[end] - sums[start])
