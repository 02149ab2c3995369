"""What reads batches from a broker, a folder or files, and stores their rows.

    frames      cut a byte stream into zstd frames; survive damage and torn tails     pure
    rows        one batch -> rows of the five tables                                  pure
    presence    the retained state topic -> who is online                             pure
    intake      decode, group, quarantine what is damaged, commit, and only then acknowledge
    quarantine  the bounded folder of what could not be stored
    store       the port that every store fills
    sqlite      tables in one file, exactly once (schema.sql)
    textfiles   jsonl and csv, with a sidecar that makes a restart exact
    control     when to stop, and when to try a failed commit again
    folder      source: files and trees of them, optionally followed
    mqtt        source: a broker, persistent session, manual acknowledgement

At least once comes in; the key (device, stream, kind, seq) makes it once in the store.
"""
