"""The edge: a camera's pictures, encoded for the link there is, and sent to the cloud.

Names are imported from their modules; `app` runs one camera.
"""

__all__: list[str] = []
