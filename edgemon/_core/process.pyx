"""What a process may ask of the kernel for itself, beyond what Python offers."""

cdef extern from "<sys/prctl.h>" nogil:
    int prctl(int, ...)
    enum:
        PR_SET_PDEATHSIG

cdef extern from "<signal.h>" nogil:
    enum:
        SIGKILL


def die_with_parent():
    return prctl(PR_SET_PDEATHSIG, <unsigned long>SIGKILL) == 0
