"""Networks in torch: slimmable transforms, the Darknet detector graph, and export. Serving code
never imports this.
"""
