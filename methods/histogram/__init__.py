"""Control: colour histograms of stripes."""
