"""How far the wall clock may be off, as the kernel sees it."""


cdef extern from "<sys/timex.h>" nogil:
    struct timex:
        unsigned int modes
        long maxerror
        int status
    int adjtimex(timex *)
    enum:
        STA_UNSYNC
        TIME_ERROR


def clock_error_ms():
    cdef timex reading
    reading.modes = 0  # only read, which needs no privilege
    cdef int state = adjtimex(&reading)
    if state < 0 or state == TIME_ERROR or reading.status & STA_UNSYNC:
        return None
    return <double>reading.maxerror / 1000.0
