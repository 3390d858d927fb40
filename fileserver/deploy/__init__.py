"""Configuration for web servers and service managers: values are validated once, then written into templates."""
