"""What `gigq` shows: text for people, tables on terminals, documents for programs."""
