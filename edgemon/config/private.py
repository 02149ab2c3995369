"""Who may know what a file with a secret holds, and have written it. Small: agent and shipper keep it."""

from __future__ import annotations

import os
import stat

from edgemon.typed import NamedTuple


class Account(NamedTuple):
    """Whom edgemon runs as. gid: of his primary group."""

    uid: int
    gid: int


def this_account() -> Account:
    """That of this process."""
    return Account(os.geteuid(), os.getegid())


def another_group_writes(info: os.stat_result, account: Account) -> bool:
    """Whether a group may write that is neither root's nor the primary one of edgemon's user."""
    return bool(info.st_mode & stat.S_IWGRP) and info.st_gid not in (0, account.gid)


def exposed(path: str, info: os.stat_result) -> str:
    """Why a file with a secret is none, with its path; "" where it may be.

    A group may read it: that is how a service's user gets at a key that root owns.
    """
    for bit, what in (stat.S_IROTH, "read"), (stat.S_IWOTH, "written"):
        if info.st_mode & bit:
            return f"{path} can be {what} by everybody; run: chmod o-rwx {path}"
    if another_group_writes(info, this_account()):
        return f"{path} can be written by group {info.st_gid}; run: chmod g-w {path}"
    return ""
