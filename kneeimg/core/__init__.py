"""The nouns of kneeimg, all frozen: grids, volumes, label maps, films, surfaces, visits."""
