"""`slimwire demo`: edge, cloud and Redis on one machine, watched in the terminal.

command.py    the options, and what is printed at the end
play.py       the order of things
cloud.py      the cloud as a child process that cannot outlive the demo
links.py      the link between the two, from a file or by name
tally.py      the edge's events, counted; frame_row.py: one frame of it
history.py    the last minute of them
screen.py     the live picture of the tally, or plain lines
link_charts.py, chart.py: the last minute, drawn: bandwidth, choices, latency
review.py     one picture on demand, before and after a refetch
summary.py    the totals: one JSON line, or a table
waiting.py    for something that a stop may end first
"""

__all__: list[str] = []
