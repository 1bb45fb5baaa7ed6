//! Fuel: what each operator costs, when it is taken, and when guests stop.
