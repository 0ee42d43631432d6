"""Pure science: typed values in, measurements and maps out."""
