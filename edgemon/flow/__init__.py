"""Pure pieces of the flow between the socket and the spool: windows, batches, rates, backoff."""
