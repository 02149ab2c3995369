def ks_pvalue(h: int, m: int, n: int) -> float:
    """P(h or more), two-sided, for two samples of m and n from one continuous law, whose statistic
    is h = D * lcm(m, n) as in edgemon._core.ks; smaller for a law with ties.

    h: 0 to 2^63 - 1; above lcm(m, n) the answer is 0.  m, n: 1 to 2^31 - 1.  Else ValueError.
    Exact to 1e-11 of its value down to 1e-290 (what is smaller may be 0) where m n <= 10^7, where
    m = n <= 10^6 and where one of them is 1; beyond, Kolmogorov's limit law, which is never below
    the exact value by more than 0.1 %. Without the interpreter's lock; O(m n), or O(n) for m = n:
    at most some ms (csrc/em_pvalue.h, with the sources).

    >>> round(ks_pvalue(331, 10_000, 1_000), 6), ks_pvalue(3, 3, 3) == 2 / 20
    (0.267332, True)
    """

def kolmogorov(x: float) -> float:
    """Kolmogorov's limit law: the chance of D * sqrt(m n / (m + n)) >= x for large m and n, 0 to 1.
    x: at least 0, else ValueError.

    >>> round(kolmogorov(1.358099), 6)
    0.05
    """
