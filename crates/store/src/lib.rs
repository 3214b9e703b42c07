//! Durable state by intent: the Store trait, its SQLite implementation, migrations, the group-commit writer.
