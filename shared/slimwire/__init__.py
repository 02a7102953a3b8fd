"""The public name of this project; the code of its wire is `slimwire.v1`."""
