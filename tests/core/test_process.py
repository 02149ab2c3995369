"""What the loader alone reads is given back, in a process of its own, which goes on as before."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import re, sys
from edgemon._core.process import release_relocations

def resident_kb():
    # Of what is mapped from files and is not written to: libraries come and go by whole pages there.
    mapping, found = "", {}
    for line in open("/proc/self/smaps"):
        if match := re.match(r"([0-9a-f]+-[0-9a-f]+) r--p \\S+ \\S+ [1-9]", line):
            mapping = match[1]
        elif re.match(r"[0-9a-f]+-", line):
            mapping = ""
        elif mapping and line.startswith(("Rss:", "Private_Dirty:")):
            found[mapping, line.split(":")[0]] = int(line.split()[1])
    return {mapping: rss for (mapping, what), rss in found.items() if what == "Rss" and rss}, {
        mapping: dirty for (mapping, what), dirty in found.items() if what == "Private_Dirty"}

assert "_decimal" not in sys.modules
clean, dirty = resident_kb()
table_bytes = release_relocations()
clean_now, dirty_now = resident_kb()
# Objects that are loaded, used and thrown away afterwards are relocated as ever, and what is there still works.
import _decimal, zlib
assert str(_decimal.Decimal(1) / 3).startswith("0.3333")
assert zlib.decompress(zlib.compress(b"after")) == b"after"
assert release_relocations() >= table_bytes
assert dirty_now == dirty
print(table_bytes, sum(clean.values()) - sum(clean_now.get(mapping, 0) for mapping in clean))
"""


def test_the_loaders_tables_leave_memory_and_the_process_goes_on() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True
    )
    table_bytes, fewer_kb = map(int, done.stdout.split())
    assert table_bytes > 0
    # The kernel may not have had all of them mapped.
    assert 0 < fewer_kb * 1024 <= table_bytes
