"""Images made by a generator, written out as a manifest: `hcbench generate`."""
