"""`slimwire demo`: edge, cloud and Redis on one machine, watched in the terminal and on the page.

command.py    the options, and what is printed at the end
plan.py       what was asked for, checked before anything starts
play.py       the order of things
rate.py       how many pictures a second this machine bears
cloud.py      the cloud as a child process that cannot outlive the demo
tally.py      the edge's events, counted, and one frame of them
screen.py     the tally on the terminal, or plain lines
review.py     one picture on demand, before and after a refetch
summary.py    the totals: one JSON line, or a table; bytes against JPEG, as they were measured
"""

__all__: list[str] = []
