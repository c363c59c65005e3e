"""Where users of GigQ import a thread's own connection from."""

from gigq.queue.user_connections import close_connection, close_connections, get_connection

__all__ = ["close_connection", "close_connections", "get_connection"]
