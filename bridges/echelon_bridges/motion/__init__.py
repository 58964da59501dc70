"""Bodies: skeletons, motion files and the built-in dancer, as limb frames."""
