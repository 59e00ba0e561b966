"""The bundles that come with this software, one folder a task, and the keys whose bundles it takes."""
