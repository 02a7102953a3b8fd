"""The codec: pictures -> containers -> latents -> pictures, over exported graphs. No torch.

Names are imported from their modules; the public face of the project is `import slimwire`.
"""

__all__: list[str] = []
