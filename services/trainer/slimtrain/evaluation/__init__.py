"""A codec measured on pictures, with real bytes, beside JPEG and HEVC."""
