"""All that knows HTTP: one module a resource, and bodies, forms, delivery, authentication, errors for all of them."""
