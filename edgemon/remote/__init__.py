"""The remote hand: desired configuration as a signed message, and what a device remembers of it.

message.py has the format and the signature, keys.py reads the keys, store.py is the memory that survives a
crash at any point. The agent decides (agent/remote.py), the shipper only carries (ship/desired.py).
"""
