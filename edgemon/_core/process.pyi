def die_with_parent() -> bool:
    """From now on the kernel kills this process when the thread that started it ends; exec keeps that.

    False where the system call is forbidden. Who starts a process and dies before this call is not
    noticed: compare getppid() afterwards.
    """

def release_relocations() -> int:
    """Give back the pages of program files that only the loader reads, when it loads them: of libpython 0.9 MB.

    Bytes of the tables of all objects that are loaded now. It costs a system call for each of them, once; whatever is
    loaded afterwards has its own.
    """
