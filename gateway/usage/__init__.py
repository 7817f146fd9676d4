"""What requests take: metered call by call, kept by day, key and expert."""
