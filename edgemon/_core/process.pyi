def die_with_parent() -> bool:
    """From now on the kernel kills this process when the thread that started it ends; exec keeps that.

    False where the system call is forbidden. Who starts a process and dies before this call is not
    noticed: compare getppid() afterwards.
    """
