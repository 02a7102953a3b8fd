"""The `slimwire` command: codec on files, the services, the demo, training.

Each command imports what it needs when it runs, so `slimwire encode` works where only the base
package is installed, and nothing but `train`, `evaluate`, `export` and `detector` wants torch.
"""

__all__: list[str] = []
