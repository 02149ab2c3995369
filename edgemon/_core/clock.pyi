def clock_error_ms() -> float | None:
    """An upper bound of the wall clock's error in milliseconds, by adjtimex(2); None: not
    synchronised.

    It is the kernel's `maxerror`: what the time daemon last reported, growing by 0.5 ms a second
    since. None as well where the system call is forbidden.
    """
