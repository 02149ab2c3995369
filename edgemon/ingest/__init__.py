"""The socket side: bytes from applications become records. docs/protocol.md is for those who write clients."""
