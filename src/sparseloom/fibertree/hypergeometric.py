"""The hypergeometric distribution: how many of the ``r`` marked of ``N`` points fall in a sample of ``n``.

Written without differences of large logarithms, so that probabilities keep about 12 digits for any ``N`` up to 2**53.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparseloom.fibertree.distinct import distinct
from sparseloom.kernel import inlined, kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

TAIL = 1e-18
"""Probabilities below this are dropped from the tails of a distribution."""

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def _exact_stirling_error(x: int) -> float:
    if x == 0:
        return -_HALF_LOG_TWO_PI
    return math.lgamma(x + 1) - ((x + 0.5) * math.log(x) - x + _HALF_LOG_TWO_PI)


_SMALL = np.array([_exact_stirling_error(x) for x in range(32)])


@inlined
def _stirling_error(x):  # type: ignore[no-untyped-def]
    """``log x! - ((x + 1/2) log x - x + log sqrt(2 pi))``; the part with ``log x`` counts as 0 at ``x = 0``."""
    if x < 32:
        return _SMALL[int(x)]
    square = x * x
    return (1 / 12 - (1 / 360 - (1 / 1260 - 1 / (1680 * square)) / square) / square) / x


def log_factorial(x: ArrayLike) -> FloatArray:
    """``log x!`` of whole numbers, by Stirling's series (exact table below 32)."""
    values = np.asarray(x, np.float64)
    return np.asarray(_log_factorials(values.ravel()).reshape(values.shape))


@kernel
def _log_factorials(values: FloatArray) -> FloatArray:
    found = np.empty(values.size)
    for i in range(values.size):
        x = values[i]
        found[i] = _HALF_LOG_TWO_PI + _stirling_error(x) + ((x + 0.5) * math.log(x) - x if x > 0 else 0.0)
    return found


def empty_probability(population: ArrayLike, marked: ArrayLike, sample: ArrayLike) -> FloatArray:
    """P(no marked point in the sample) = C(N - r, n) / C(N, n), elementwise over broadcast arrays.

    With ``a = N - n - r`` the logarithm is, but for Stirling's corrections,
    ``(a + 1/2) log1p(r n / (N a)) + r log1p(-n / N) + n log1p(-r / N)``: no term is larger than the result, about.
    """
    total, r, n = (np.asarray(x, np.float64) for x in (population, marked, sample))
    if total.ndim or r.ndim:
        total, r, n = (np.array(x) for x in np.broadcast_arrays(total, r, n))
    return np.asarray(_empty_probabilities(total.ravel(), r.ravel(), n.ravel()).reshape(n.shape))


@kernel
def _empty_probabilities(population: FloatArray, marked: FloatArray, samples: FloatArray) -> FloatArray:
    """Of each of the ``samples`` [N]; the others are [N], or [1] if all have the same."""
    found = np.empty(samples.size)
    for i in range(samples.size):
        total, r = population[i if population.size > 1 else 0], marked[i if marked.size > 1 else 0]
        n = samples[i]
        a = total - n - r
        if r <= 0 or n <= 0:
            found[i] = 1.0
        elif a < 0:
            found[i] = 0.0
        else:
            ratio = r * n / total
            log_p = (a + 0.5) * math.log1p(ratio / a) if a > 0 else 0.5 * math.log(ratio)
            log_p += r * math.log1p(-n / total) + n * math.log1p(-r / total)
            log_p += _stirling_error(a + r) + _stirling_error(a + n) - _stirling_error(total) - _stirling_error(a)
            found[i] = min(math.exp(log_p), 1.0)
    return found


def distribution(population: int, marked: int, sample: int) -> tuple[IntArray, FloatArray]:
    """Occupancies and their probabilities, exact but for tails below 1e-18 (:data:`TAIL`), which are dropped.

    Built outwards from the mode with the ratio of neighbours, over a window that Hoeffding's inequality says is wide
    enough, then normalised.
    """
    least, most = max(0, marked + sample - population), min(marked, sample)
    mode = (sample + 1) * (marked + 1) // (population + 2)
    mode = min(max(mode, least), most)
    reach = int(5 * math.sqrt(min(marked, sample))) + 8
    low, high = max(least, mode - reach), min(most, mode + reach)
    k = np.arange(low, high, dtype=np.float64)
    ratio = (marked - k) / (k + 1) * ((sample - k) / (population - marked - sample + k + 1))
    at = mode - low
    up = np.cumprod(ratio[at:])
    down = np.cumprod(1 / ratio[:at][::-1])[::-1]
    weights = np.concatenate([down, [1.0], up])
    p = weights / weights.sum()
    kept = np.flatnonzero(p >= TAIL)
    occupancies = np.arange(low, high + 1, dtype=np.int64)
    return occupancies[kept[0] : kept[-1] + 1], p[kept[0] : kept[-1] + 1]


def mean_parts(population: int, marked: int, sample: ArrayLike, size: ArrayLike) -> FloatArray:
    """Mean of ceil(X / size), elementwise, where X are the marked points of a ``sample``.

    X has the distribution of a sum of independent indicators (Vatutin and Mikhailov 1982), so that its characteristic
    function is at most exp(-2 variance sin(t / 2)^2) at t. Where that is below the precision of floats at all multiples of
    2 pi / size, X leaves every rest equally often, and the mean is (mean of X + (size - 1) / 2) / size.
    """
    n, parts = np.asarray(sample, np.int64), np.asarray(size, np.int64)
    if parts.ndim and n.shape != parts.shape:
        n, parts = np.broadcast_arrays(n, parts)
    keys = np.empty((2, n.size), np.int64)
    keys[0], keys[1] = n.ravel(), parts.ravel()
    found, summed = _even_means(population, marked, keys)
    if summed.size:
        first, index = distinct(keys[:, summed])
        found[summed] = _summed_means(population, marked, keys[:, summed[first]])[index]
    return np.asarray(found.reshape(n.shape))


@kernel
def _even_means(population: int, marked: int, keys: IntArray) -> tuple[FloatArray, IntArray]:
    """The means of samples and sizes ``keys`` [2, N] where all rests are left equally often, and which are not of these."""
    found, summed, count = np.empty(keys.shape[1]), np.empty(keys.shape[1], np.int64), 0
    share = marked / population
    for i in range(keys.shape[1]):
        n, size = keys[0, i], keys[1, i]
        variance = n * share * (1 - share) * ((population - n) / max(population - 1, 1))
        found[i] = (n * share + (size - 1) / 2) / size
        if size > 1 and 2 * variance * math.sin(math.pi / size) ** 2 <= 40:
            summed[count] = i
            count += 1
    return found, summed[:count]


@kernel
def _summed_means(population: int, marked: int, keys: IntArray) -> FloatArray:
    """The means of samples and sizes ``keys`` [2, N], summed outwards from the mode as in :func:`distribution`."""
    found = np.empty(keys.shape[1])
    for i in range(keys.shape[1]):
        n, size = keys[0, i], keys[1, i]
        least, most = max(0, marked + n - population), min(marked, n)
        mode = min(max(int((n + 1.0) * (marked + 1.0) / (population + 2.0)), least), most)
        total, filled = 1.0, math.ceil(mode / size)
        weight, k = 1.0, mode
        while k < most and weight > TAIL:
            weight *= (marked - k) / (k + 1) * ((n - k) / (population - marked - n + k + 1))
            k += 1
            total += weight
            filled += weight * math.ceil(k / size)
        weight, k = 1.0, mode
        while k > least and weight > TAIL:
            weight *= k / (marked - k + 1) * ((population - marked - n + k) / (n - k + 1))
            k -= 1
            total += weight
            filled += weight * math.ceil(k / size)
        found[i] = filled / total
    return found
