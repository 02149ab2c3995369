"""What a process may ask of the kernel for itself, beyond what Python offers."""

cdef extern from "<sys/prctl.h>" nogil:
    int prctl(int, ...)
    enum:
        PR_SET_PDEATHSIG

cdef extern from "<signal.h>" nogil:
    enum:
        SIGKILL

cdef extern from "em_relocations.h" nogil:
    size_t em_release_relocations()


def die_with_parent():
    return prctl(PR_SET_PDEATHSIG, <unsigned long>SIGKILL) == 0


def release_relocations():
    return em_release_relocations()
