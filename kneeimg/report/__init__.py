"""Pictures and the static HTML report: draws and tabulates what it is given, measures nothing."""
