"""`slimwire demo`: edge, cloud and Redis on one machine, watched in the terminal and on the page.

command.py    the options, and what is printed at the end
inputs.py     what is checked before anything starts
play.py       the order of things
rate.py       how many pictures a second this machine bears
cloud.py      the cloud as a child process that cannot outlive the demo
links.py      the link between the two, from a file or by name
tally.py      the edge's events, counted; frame_row.py: one frame of it
screen.py     the tally on the terminal, or plain lines
compared.py   bytes against JPEG, as they were measured
review.py     one picture on demand, before and after a refetch
summary.py    the totals: one JSON line, or a table
waiting.py    for something that a stop may end first
"""

__all__: list[str] = []
