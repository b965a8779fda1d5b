"""The bundled encoder, trained from scratch: what it reads, how it learns, how it is judged."""
