"""Change between visits: registration on bone, paired regions, change maps, precision."""
