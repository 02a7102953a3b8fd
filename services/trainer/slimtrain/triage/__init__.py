"""Training the triage head: is anything in this frame?"""
