"""CLIP in open_clip's layout: checkpoints of LAION, DataComp, DFN and MetaCLIP 1 with a ViT image tower."""
