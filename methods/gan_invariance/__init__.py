"""GAN-invariance (GCL, GCL+): contrast between an image and its generated view from another side."""
