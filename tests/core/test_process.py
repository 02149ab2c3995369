"""What a process does with its own memory, each in one of its own, which goes on as before."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_RELEASE = """
import re, sys
from edgemon._core.process import release_relocations

def resident_kb():
    # Of what is mapped from files and is not written to; anonymous: pages that the loader wrote before.
    mapping, found = "", {}
    for line in open("/proc/self/smaps"):
        if match := re.match(r"([0-9a-f]+-[0-9a-f]+) r--p \\S+ \\S+ [1-9]", line):
            mapping = match[1]
        elif re.match(r"[0-9a-f]+-", line):
            mapping = ""
        elif mapping and line.startswith(("Rss:", "Anonymous:")):
            found[mapping, line.split(":")[0]] = int(line.split()[1])
    return {mapping: rss for (mapping, what), rss in found.items() if what == "Rss" and rss}, {
        mapping: own for (mapping, what), own in found.items() if what == "Anonymous"}

assert "_decimal" not in sys.modules
clean, own = resident_kb()
table_bytes = release_relocations()
clean_now, own_now = resident_kb()
# Objects that are loaded, used and thrown away afterwards are relocated as ever, and what is there still works.
import _decimal, zlib
assert str(_decimal.Decimal(1) / 3).startswith("0.3333")
assert zlib.decompress(zlib.compress(b"after")) == b"after"
assert release_relocations() >= table_bytes
assert own_now == own
print(table_bytes, sum(clean.values()) - sum(clean_now.get(mapping, 0) for mapping in clean))
"""
_STEADY = """
import re, sys, threading
from edgemon._core.process import steady_heap

def heap_kb():
    smaps = open("/proc/self/smaps").read()
    return int(re.search(r"\\[heap\\]\\nSize: +([0-9]+) kB", smaps)[1])

def arenas():
    # A thread's own begins with a mapping of 64 MiB of which little may be touched.
    smaps = open("/proc/self/smaps").read()
    return len(re.findall(r" ---p 00000000 00:00 0 *\\nSize: +[56][0-9]{4} kB", smaps))

if sys.argv[1] == "steady":
    assert steady_heap()
before_kb = heap_kb()
for size in 8 << 20, 1 << 20:
    del [bytearray(size)][0]
blocks = [bytearray(200_000) for _ in range(50)]
threads = [threading.Thread(target=lambda: [bytearray(1000) for _ in range(100)]) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(heap_kb() - before_kb, arenas())
"""


def test_the_loaders_tables_leave_memory_and_the_process_goes_on() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _RELEASE], capture_output=True, text=True, check=True
    )
    table_bytes, fewer_kb = map(int, done.stdout.split())
    assert table_bytes > 0
    # The kernel may not have had all of them mapped.
    assert 0 < fewer_kb * 1024 <= table_bytes


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_large_blocks_and_threads_leave_the_heap_as_it_is() -> None:
    def run(how: str) -> tuple[int, int]:
        command = [sys.executable, "-c", _STEADY, how]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        grown_kb, arenas = map(int, done.stdout.split())
        return grown_kb, arenas

    grown_kb, arenas = run("steady")
    assert grown_kb < 1_000
    assert arenas == 0
    grown_kb, arenas = run("as it is")
    assert grown_kb > 9_000
    assert arenas > 0
