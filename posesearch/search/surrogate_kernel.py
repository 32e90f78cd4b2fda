"""What the surrogate believes before it has seen anything: effects of single choices and of pairs, smooth along a gene.

A score is a constant, trends ("more of everything is better or worse", "wider stages are"), one effect for each choice, and
one for each pair of choices of two genes. All effects are Gaussian. Effects of one gene sum to zero over its choices, and those of a
pair over the choices of either gene, so that each part says only what the ones before it cannot; choices next to each
other have similar effects (an exponential covariance in their places). So it is Bayesian linear regression on one-hot
choices and their products, written as a Gaussian process: with `main` and `pair` the variances of the effects,

    k(x, y) = CONSTANT + sum_j trend_j t_j(x) t_j(y) + sum_g main_g k_g(x_g, y_g) + sum_{g<h} pair_gh k_g(x_g, y_g) k_h(x_h, y_h)

(functional ANOVA: Plumlee and Joseph, "Orthogonal Gaussian process models", 2018; Durrande et al., "ANOVA kernels", 2013).

Shapes: N, M members as places among the choices; G genes; T choices of all genes together; J trends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

CONSTANT = 4.0
TREND, TREND_OF_KIND = 1.0, 0.3
"""Variance of the slopes over all genes and over the genes of one kind, such as the widths of all stages. The second halved
the error on the front of the synthetic problem after 120 evaluations (root mean square 1.33 to 0.73 AP)."""

REACH = 5.0
"""Covariance of the two ends of a gene is exp(-1 / REACH) before centring: mostly a trend along the gene, with bends."""

ROWS = 64
"""Rows of a covariance matrix worked out at a time: 2,000 x 2,000 with 25 genes would take 800 MB at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shrinkage:
    """How large effects are expected to be, of scores with mean 0 and variance 1.

    Attributes:
        main_G: Variance of the effects of each gene.
        pair_GG: Variance of the effects of each pair of genes; symmetric, 0 on the diagonal.
        noise: Variance of the error of one evaluation.
    """

    main_G: Floats
    pair_GG: Floats
    noise: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Tables:
    """A function of all members as its effects.

    Attributes:
        constant: The constant.
        main_T: Effect of each choice.
        pair_TT: Effect of each pair of choices; symmetric, 0 within a gene.
    """

    constant: float
    main_T: Floats
    pair_TT: Floats

    def of(self, one_hot_NT: Floats) -> Floats:
        """Returns the values of members."""
        pairs = np.einsum("nt,nt->n", one_hot_NT @ self.pair_TT, one_hot_NT)
        return np.asarray(self.constant + one_hot_NT @ self.main_T + 0.5 * pairs)


class Effects:
    """The covariance, for genes with these numbers of choices."""

    def __init__(self, names: Sequence[str], counts: Sequence[int]) -> None:
        self.names, self.counts = tuple(names), tuple(counts)
        self.offsets = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
        self.gene_T = np.repeat(np.arange(len(counts)), counts)
        self.kernels = tuple(_centred(count) for count in counts)
        self.block_TT: Floats = scipy.linalg.block_diag(*self.kernels)
        self.root_TT: Floats = scipy.linalg.block_diag(*(_root(kernel) for kernel in self.kernels))
        self.trend_TJ = _trends(self.names, self.counts)

    def one_hot(self, members_NG: Indices) -> Floats:
        """Returns a 1 for each choice a member has."""
        hot = np.zeros((len(members_NG), len(self.gene_T)))
        hot[np.arange(len(members_NG))[:, None], members_NG + self.offsets] = 1.0
        return hot

    def by_gene(self, first_NG: Indices, second_MG: Indices) -> Floats:
        """Returns the covariances of each gene alone, of shape (G, N, M)."""
        return np.stack([
            kernel[np.ix_(first_NG[:, gene], second_MG[:, gene])] for gene, kernel in enumerate(self.kernels)
        ])  # fmt: skip

    def trends(self, members_NG: Indices) -> Floats:
        """Returns the trends of members, of shape (N, J); scalar products of rows are covariances."""
        return np.asarray(self.trend_TJ[members_NG + self.offsets].sum(axis=1))

    def covariance(self, first_NG: Indices, second_MG: Indices, shrinkage: Shrinkage) -> Floats:
        """Returns the covariance of scores without noise, of shape (N, M)."""
        parts = []
        for start in range(0, len(first_NG), ROWS):
            rows = first_NG[start : start + ROWS]
            flat = self.by_gene(rows, second_MG).reshape(len(self.counts), -1)
            parts.append(self.combine(flat, shrinkage).reshape(len(rows), -1))
        return np.concatenate(parts) + CONSTANT + self.trends(first_NG) @ self.trends(second_MG).T

    def combine(self, flat_GP: Floats, shrinkage: Shrinkage) -> Floats:
        """Returns the covariance of effects from the covariances of single genes, for any list of P pairs of members."""
        pairs = 0.5 * np.einsum("gp,gp->p", flat_GP, shrinkage.pair_GG @ flat_GP)
        return np.asarray(shrinkage.main_G @ flat_GP + pairs)

    def variance(self, members_NG: Indices, shrinkage: Shrinkage) -> Floats:
        """Returns the variance of the scores of members, without noise."""
        flat = np.stack([kernel.diagonal()[members_NG[:, gene]] for gene, kernel in enumerate(self.kernels)])
        return self.combine(flat, shrinkage) + CONSTANT + (self.trends(members_NG) ** 2).sum(axis=1)

    def tables(self, members_NG: Indices, weights_N: Floats, shrinkage: Shrinkage) -> Tables:
        """Returns sum_n weights_n k(., x_n) as effects."""
        hot = self.one_hot(members_NG)
        main = (self.block_TT @ (hot.T @ weights_N)) * shrinkage.main_G[self.gene_T]
        main += self.trend_TJ @ (self.trends(members_NG).T @ weights_N)
        pair = self.block_TT @ ((hot.T * weights_N) @ hot) @ self.block_TT
        return Tables(
            constant=CONSTANT * float(weights_N.sum()),
            main_T=main,
            pair_TT=pair * shrinkage.pair_GG[np.ix_(self.gene_T, self.gene_T)],
        )

    def drawn(self, generator: np.random.Generator, shrinkage: Shrinkage) -> Tables:
        """Returns effects drawn from what is believed before any answer."""
        size = len(self.gene_T)
        main = np.sqrt(shrinkage.main_G[self.gene_T]) * (self.root_TT @ generator.standard_normal(size))
        main += self.trend_TJ @ generator.standard_normal(self.trend_TJ.shape[1])
        upper = np.triu(generator.standard_normal((size, size)), 1)
        pair = self.root_TT @ (upper + upper.T) @ self.root_TT.T
        return Tables(
            constant=float(np.sqrt(CONSTANT) * generator.standard_normal()),
            main_T=main,
            pair_TT=pair * np.sqrt(shrinkage.pair_GG[np.ix_(self.gene_T, self.gene_T)]),
        )


def _trends(names: tuple[str, ...], counts: tuple[int, ...]) -> Floats:
    """Returns the trends as effects of choices: places along genes, of all genes and of those with one kind of name."""
    kinds = [name.split(".")[-1] for name in names]
    columns = []
    for kind in (None, *dict.fromkeys(kinds)):
        parts = [
            (_places(count) - 0.5) * float(kind in (None, own))
            for own, count in zip(kinds, counts, strict=True)
        ]
        spread = sum(float(part.var()) for part in parts)
        variance = TREND if kind is None else TREND_OF_KIND
        columns.append(np.concatenate(parts) * np.sqrt(variance / spread if spread else 0.0))
    return np.stack(columns, axis=1)


def _places(count: int) -> Floats:
    return np.arange(count) / (count - 1.0) if count > 1 else np.full(1, 0.5)


def _centred(count: int) -> Floats:
    """Returns the covariance of the effects of one gene: they sum to 0 and have a mean variance of 1."""
    if count == 1:
        return np.zeros((1, 1))
    places = _places(count)
    near = np.exp(-np.abs(places[:, None] - places[None, :]) / REACH)
    centre = np.eye(count) - 1.0 / count
    kernel = centre @ near @ centre
    return np.asarray(kernel / (np.trace(kernel) / count))


def _root(kernel: Floats) -> Floats:
    values, vectors = np.linalg.eigh(kernel)
    return np.asarray(vectors * np.sqrt(values.clip(min=0.0)))
