"""The only place that composes stages: read, segment, measure, write. It contains no formula."""
