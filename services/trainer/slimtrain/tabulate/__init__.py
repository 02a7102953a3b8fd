"""The context prior of a codec that is trained already: its weights fitted, its tables counted."""
