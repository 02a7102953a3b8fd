"""The context prior: what both sides know already chooses the tables of what comes next."""
