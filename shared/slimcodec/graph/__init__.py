"""Running exported graphs: the runtime's interface and the devices it knows."""
