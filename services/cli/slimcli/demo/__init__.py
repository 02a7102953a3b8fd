"""`slimwire demo`: edge, cloud and Redis on one machine, watched in the terminal.

command.py    the options, and the order of things
cloud.py      the cloud as a child process that cannot outlive the demo
tally.py      the edge's events, counted
screen.py     the live picture of the tally, or plain lines
review.py     one picture on demand, before and after a refetch
summary.py    the totals: one JSON line, or a table
"""

__all__: list[str] = []
