"""Files in and out; every change of convention (LPS/RAS, units, slice order) happens here."""
