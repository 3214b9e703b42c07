//! Who starts a child: spawn, reap, hold, restart; and the wire types of a plan.
