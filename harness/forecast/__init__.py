"""What a run will cost: estimates, probes, FLOPs."""
