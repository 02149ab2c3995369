"""The binary's entry: outside the package, so that PyInstaller takes the installed one with its extensions."""

import os
import sys

# A single file unpacks itself and goes on in a child process, so what a service manager said to its parent is for it.
beside = os.path.join(os.path.dirname(os.path.realpath(sys.executable)), "_internal")
if beside != getattr(sys, "_MEIPASS", beside):
    for name in ("LISTEN_PID", "WATCHDOG_PID"):
        if os.environ.get(name) == str(os.getppid()):
            os.environ[name] = str(os.getpid())

from edgemon.cli import main  # noqa: E402  what stands above must be so before anything is imported

sys.exit(main())
