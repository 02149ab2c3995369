"""The binary's entry: outside the package, so that PyInstaller takes the installed one with its extensions."""

import os
import sys

# A single file unpacks itself and goes on in a child process, so what a service manager said to its parent is for it.
beside = os.path.join(os.path.dirname(os.path.realpath(sys.executable)), "_internal")
if beside != getattr(sys, "_MEIPASS", beside):
    for name in ("LISTEN_PID", "WATCHDOG_PID"):
        if os.environ.get(name) == str(os.getppid()):
            os.environ[name] = str(os.getpid())

# The OpenSSL inside looks for the system's certificates where Debian keeps them. Elsewhere they are one of these files.
BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Yocto, Buildroot, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",
)
if "SSL_CERT_FILE" not in os.environ and not os.path.exists("/usr/lib/ssl/certs"):
    for bundle in BUNDLES:
        if os.path.exists(bundle):
            os.environ["SSL_CERT_FILE"] = bundle
            break

from edgemon.cli import main  # noqa: E402  what stands above must be so before anything is imported

sys.exit(main())
