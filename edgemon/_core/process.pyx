"""What a process may ask of the kernel for itself, beyond what Python offers."""

cdef extern from "<sys/prctl.h>" nogil:
    int prctl(int, ...)
    enum:
        PR_SET_PDEATHSIG

cdef extern from "<signal.h>" nogil:
    enum:
        SIGKILL

cdef extern from * nogil:
    """
    #include <malloc.h>
    static int em_steady_heap(void)
    {
    #ifdef __GLIBC__
        return mallopt(M_ARENA_MAX, 1) && mallopt(M_MMAP_THRESHOLD, 128 << 10) &&
               mallopt(M_TRIM_THRESHOLD, 128 << 10);
    #else
        return 0;
    #endif
    }
    """
    int em_steady_heap()

cdef extern from "em_relocations.h" nogil:
    size_t em_release_relocations()


def die_with_parent():
    return prctl(PR_SET_PDEATHSIG, <unsigned long>SIGKILL) == 0


def release_relocations():
    return em_release_relocations()


def steady_heap():
    return em_steady_heap() != 0
