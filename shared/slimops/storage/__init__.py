"""Redis as what keeps frames: a connection, an embedded server, its data, what it promises."""
