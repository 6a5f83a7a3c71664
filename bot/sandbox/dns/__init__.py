"""A simulated DNS: zones at providers, three resolvers that remember, and the providers' APIs."""
