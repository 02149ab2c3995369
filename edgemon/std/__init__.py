"""What the device's processes need of Python's library, without what that brings along.

    from edgemon.std import json, socket
    from edgemon.std.contextlib import suppress

A module here has the name of the one that it stands for and the part of it that agent and shipper use, which behaves
as there; to a type checker it is the real one. CPython's C modules (_socket, _json, …) do the work in both. Left out is
the Python around them, which needs enum, re, functools, collections and importlib: more than a megabyte of a process.
What only some configurations need is taken from the real ones, inside the function that needs it.
"""
