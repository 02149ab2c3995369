"""From the spool to a broker or a folder: the shipper process.

sink.py says what a sink is; mqtt.py and file.py are sinks, each only "send one batch". shipper.py
has the order, the window, the retries and the cursor, once for all of them; process.py is the loop
around it: selectors, signals and the control socket.
"""
