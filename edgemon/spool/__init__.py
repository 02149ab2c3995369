"""The spool: what was acknowledged stays on disk until it is delivered, or a gap says what is missing.

    fs.py         the file-system port; alone may fsync, rename and unlink
    layout.py     names of folders and files
    segment.py    record framing; its docstring is the specification of segments and journals
    slots.py      small state that is rewritten in place: watermark and gap ledger stand on it
    watermark.py  up to which seq each kind is durable, and up to which it was freed
    gaps.py       what is missing, until it has been shipped
    cursor.py     what was delivered; the shipper's
    origin.py     whose spool it is: a copy must not use the numbers of the original
    lane.py       the segments of one kind
    journal.py    the rows of open batches
    quarantine.py damaged bytes, kept for a person to look at
    recovery.py   scans and mends what lies there at open;  found.py is what it finds
    opening.py    from that to numbers that agree: what is lost becomes gaps, open batches are replayed
    retention.py  what is freed, what is evicted, in which order
    persistence.py  writes and syncs on a disk that may refuse
    health.py     what the disk refused;  usage.py  what a person asks
    writer.py     Spool, which puts these together
    verify.py     everything looked at, nothing changed
    reader.py     SpoolReader, for the shipper and the tools
    worker.py     SpoolWorker, the one thread that writes

Importing the package imports nothing: an application that reads a segment pays for that alone.
"""
