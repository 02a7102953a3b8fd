"""The cloud side of Slimwire: ingest, detect and review, as roles of one process or of several."""
