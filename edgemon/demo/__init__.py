"""`edgemon demo`: the main job on real data, on one machine, without root, in about a minute.

A camera reads handwritten digits, its lens gets dirty, the broker goes away and comes back. All parts
are real: scikit-learn's digits, a classifier trained on the spot, a broker, and edgemon's own agent,
shipper and receiver as child processes. Needs the `demo` extra.

    scenario.py   the camera, the dirt, the classifier, what the application logs of a picture
    play.py       the script: phases, their lengths, and what the application knows while it plays
    stage.py      folder, ports, configuration, and what runs on it
    children.py   one child process, and the broker
    driver.py     plays it: sends predictions through the socket, takes the broker away
    show.py       all of it, from beginning to end
    again.py      a thread that does something again and again
    watch.py      what the view knows: the agent's status and the receiver's database
    view.py       the live view: a terminal's, or plain lines
    report.py     the end, from the received database
"""
