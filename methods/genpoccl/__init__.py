"""GenPoCCL: masked auto-encoding with pose-consistent positives, and HAP within it."""
