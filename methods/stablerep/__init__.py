"""StableRep: multi-positive contrastive learning over the images of one caption."""
