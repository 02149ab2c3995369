"""Certificates for tests and benchmarks with TLS."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

OPENSSL = shutil.which("openssl")


class Certificates:
    """An authority and certificates signed by it, made with the openssl program."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.ca = self.authority("ca")
        self.other_ca = self.authority("other")

    def authority(self, name: str) -> Path:
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        self._openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2",
            f"-keyout {key} -out {certificate} -subj /CN={name}",
            "-addext keyUsage=critical,keyCertSign",
        )
        return certificate

    def signed(self, name: str, host: str, *, expired: bool = False) -> tuple[Path, Path]:
        """(certificate, private key) for this host name or address."""
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        kind = "IP" if host[0].isdigit() else "DNS"
        extensions.write_text(f"subjectAltName={kind}:{host}\n")
        self._openssl(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes",
            f"-keyout {key} -out {request} -subj /CN={name}",
        )
        serial = self.folder / "serial"
        database = self.folder / "index.txt"
        database.write_text("")
        serial.write_text("01\n")
        settings = self.folder / "ca.cnf"
        settings.write_text(
            f"[ca]\ndefault_ca=d\n[d]\ndatabase={database}\nserial={serial}\n"
            f"new_certs_dir={self.folder}\ndefault_md=sha256\npolicy=p\nunique_subject=no\n"
            "[p]\ncommonName=supplied\n"
        )
        dates = "-startdate 20200101000000Z -enddate 20200102000000Z" if expired else "-days 2"
        self._openssl(
            f"ca -batch -config {settings} -in {request} -out {certificate} -notext",
            f"-cert {self.ca} -keyfile {self.folder}/ca.key -extfile {extensions} {dates}",
        )
        key.chmod(0o600)
        return certificate, key

    def _openssl(self, *words: str) -> None:
        command = [OPENSSL or "openssl", *" ".join(words).split()]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder)
