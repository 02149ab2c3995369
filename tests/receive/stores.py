"""The kinds of store that a receiver writes, each as its tests see it."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from pathlib import Path

import pyarrow.parquet as pq

from edgemon.receive.parquet import parquet_folder
from edgemon.receive.sqlite import SqliteStore
from edgemon.receive.store import Store
from edgemon.receive.textfiles import StreamStore, csv_folder, jsonl_file


class Kind:
    """One store under test: how it is opened, and which batches it holds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self) -> Store:
        raise NotImplementedError

    def rows(self) -> list[tuple[str, int, int]]:
        """(device, seq, row) of all predictions, in the order of the store."""
        raise NotImplementedError


class Sqlite(Kind):
    def open(self) -> Store:
        return SqliteStore(str(self.folder / "fleet.db"))

    def rows(self) -> list[tuple[str, int, int]]:
        sql = "SELECT device, seq, row FROM predictions JOIN batches ON batches.id = batch ORDER BY batch, row"
        return query(self.folder / "fleet.db", sql)


class Jsonl(Kind):
    def open(self) -> Store:
        return jsonl_file(str(self.folder / "out.jsonl"))

    def rows(self) -> list[tuple[str, int, int]]:
        lines = map(json.loads, (self.folder / "out.jsonl").read_text().splitlines())
        return [
            (line["device"], line["seq"], line["row"])
            for line in lines
            if line["table"] == "predictions"
        ]


class Csv(Kind):
    def open(self) -> Store:
        return csv_folder(str(self.folder / "out"))

    def rows(self) -> list[tuple[str, int, int]]:
        with (self.folder / "out" / "predictions.csv").open(newline="") as file:
            return [
                (row["device"], int(row["seq"]), int(row["row"])) for row in csv.DictReader(file)
            ]


class Parquet(Kind):
    def open(self) -> Store:
        return parquet_folder(str(self.folder / "out"))

    def rows(self) -> list[tuple[str, int, int]]:
        found = []
        for path in sorted((self.folder / "out" / "predictions").glob("*.parquet")):
            rows = pq.read_table(path, partitioning=None).to_pylist()
            found += [(row["device"], row["seq"], row["row"]) for row in rows]
        return found


class Stream(Kind):
    """Standard output: lives as long as the process, so opening it again is the same one."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.stream = io.BytesIO()
        self.store = StreamStore(self.stream)

    def open(self) -> Store:
        return self.store

    def rows(self) -> list[tuple[str, int, int]]:
        lines = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [
            (line["device"], line["seq"], line["row"])
            for line in lines
            if line["table"] == "predictions"
        ]


def query(path: Path, sql: str) -> list[tuple[str, int, int]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def rows_of(device: str, *seqs: int) -> list[tuple[str, int, int]]:
    return [(device, seq, row) for seq in seqs for row in range(3)]
