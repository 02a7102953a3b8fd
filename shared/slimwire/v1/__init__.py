"""The wire, generated from `proto/slimwire/v1/*.proto` when the package is built."""
