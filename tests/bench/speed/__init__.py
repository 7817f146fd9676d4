"""The pieces of `tests.bench.router_speed`: each measured in a process of its own."""
