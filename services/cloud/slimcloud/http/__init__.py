"""What every role that speaks HTTP needs: a server, its place behind a proxy, its probes."""
