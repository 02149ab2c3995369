"""Drift: what was normal (profile), how far is too far (threshold), and who watches (detector).

Pure: bytes, lines and values come in as arguments; nothing here opens a file or reads a clock.
"""
