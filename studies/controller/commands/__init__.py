"""`python -m studies.controller`: simulate, record, tune."""
