"""How well objects keep their names in the cloud's tracks."""
