"""Who may have written a program that edgemon starts with its own rights. Small: agent and shipper keep it."""

from __future__ import annotations

import errno
import os
import stat

from edgemon.config.private import Account, another_group_writes, this_account

# As Linux follows.
_MOST_LINKS = 40


def distrust(path: str, account: Account | None = None) -> str:
    """Why a program is not started, in words that follow its key; "" where it may be. account: None: ours.

    It must be a file that can be run. Neither it, nor a link or a folder on the way to it, may belong to anybody but
    root and the user of edgemon, nor may anybody else write it: who can change the program has edgemon's rights. Root's
    group may, and the primary one of edgemon's user, for many systems give each user a group of his own and have
    that write what he makes (umask 002).
    """
    try:
        info = os.stat(path)
        if not stat.S_ISREG(info.st_mode):
            return f'"{path}" is not a file'
        way = _way(path)
        if account is None:
            account = this_account()
            if not os.access(path, os.X_OK):
                return f'"{path}" cannot be run: chmod +x'
        else:
            for step in way:
                if not _may_pass(os.stat(step), account):
                    return f'user {account.uid} may not run or enter "{step}": chmod +x'
        for step in reversed(way):
            if problem := _foreign(step, os.lstat(step), account):
                return problem
    except OSError as error:
        return f'"{error.filename}": {(error.strerror or str(error)).lower()}'
    return ""


def _way(path: str) -> list[str]:
    """All that the system goes through to get there, links among them, the program itself last."""
    way, rest, here, links = ["/"], path.split("/")[::-1], "/", 0
    while rest:
        name = rest.pop()
        if name in ("", "."):
            continue
        if name == "..":
            here = os.path.dirname(here)
            continue
        step = os.path.join(here, name)
        way.append(step)
        if os.path.islink(step):
            links += 1
            if links > _MOST_LINKS:  # somebody has made them a ring just now
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            target = os.readlink(step)
            here = "/" if target.startswith("/") else here
            rest += target.split("/")[::-1]
        else:
            here = step
    return way


def _may_pass(info: os.stat_result, account: Account) -> bool:
    """Whether an account may run a program, or enter a folder. Of its groups the primary one is known."""
    if account.uid == 0:
        return bool(info.st_mode & 0o111)
    if info.st_uid == account.uid:
        return bool(info.st_mode & stat.S_IXUSR)
    if info.st_gid == account.gid:
        return bool(info.st_mode & stat.S_IXGRP)
    return bool(info.st_mode & stat.S_IXOTH)


def _foreign(path: str, info: os.stat_result, account: Account) -> str:
    if info.st_uid not in (0, account.uid):
        return (
            f'"{path}" belongs to user {info.st_uid}, must belong to root or to the user that edgemon runs as '
            f"({account.uid}): chown"
        )
    if stat.S_ISLNK(info.st_mode):
        return ""  # everybody may write any link: its folder says who can
    if stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_ISVTX:
        return ""  # only owners remove and rename there
    if info.st_mode & stat.S_IWOTH:
        return f'everybody may write "{path}": chmod o-w'
    if another_group_writes(info, account):
        return f'group {info.st_gid} may write "{path}": chmod g-w'
    return ""
