"""Array arithmetic in millimetres: affines, rigid motion, fits. Knows no file, no anatomy."""
