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

def steady_heap() -> bool:
    """From now on glibc's malloc gives large blocks back as soon as they are free. To be called before any
    thread begins.

    One arena for all threads, and blocks from 128 KiB on are mappings of their own, however often they come and go: by
    itself malloc raises that limit, up to 32 MiB, with every one that is freed, and what is freed later stays. After a
    day an agent with five models has 3 MB less. False where the C library has no such thing.
    """
