"""Who may have written a program that edgemon starts with its own rights. Small: agent and shipper keep it."""

from __future__ import annotations

import os
import stat


def distrust(path: str) -> str:
    """Why a program is not started, in words that follow its key; "" where it may be.

    It must be a file that can be run, and neither it nor a folder above it may be in the hands of anybody but root
    and the user of edgemon: who can change the program has edgemon's rights.
    """
    real = os.path.realpath(path)
    try:
        info = os.stat(path)
        if not stat.S_ISREG(info.st_mode):
            return f'"{path}" is not a file'
        if not os.access(real, os.X_OK):
            return f'"{path}" cannot be run: chmod +x'
        if problem := _foreign(real, info):
            return problem
        folders = {os.path.dirname(path), os.path.dirname(real)}
        while folders:
            folder = folders.pop()
            if problem := _foreign(folder, os.stat(folder)):
                return problem
            if folder != os.path.dirname(folder):
                folders.add(os.path.dirname(folder))
    except OSError as error:
        return f'"{error.filename}": {(error.strerror or str(error)).lower()}'
    return ""


def _foreign(path: str, info: os.stat_result) -> str:
    user = os.geteuid()
    if info.st_uid not in (0, user):
        return (
            f'"{path}" belongs to user {info.st_uid}, must belong to root or to the user that edgemon runs as '
            f"({user}): chown"
        )
    sticky_folder = stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_ISVTX
    if info.st_mode & stat.S_IWOTH and not sticky_folder:
        return f'everybody may write "{path}": chmod o-w'
    return ""
